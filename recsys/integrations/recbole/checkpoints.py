"""RecBole's checkpoint files: ours hold plain data, RecBole's own are read without running what is in them."""

import pickle
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.utils import get_model
from torch import nn

from graphcl.errors import InputError
from graphcl.training.checkpoint import replacing
from graphcl.training.state import TrainingState

BRIDGE = "recsys"
"""The entry by which our files are known: the kind of model, its keys, and what was written in the configuration."""
PLAIN = (str, int, float, bool, type(None))
ADMITTED = {
    "collections": ("OrderedDict", "defaultdict"),
    "builtins": ("set", "frozenset", "slice", "complex"),
    "_codecs": ("encode",),
    "torch": ("device", "Size", "dtype", "Tensor"),
    "torch._utils": ("_rebuild_tensor_v2", "_rebuild_parameter"),
    "torch.nn.parameter": ("Parameter",),
    "numpy": ("dtype", "ndarray", "float64", "float32", "int64", "int32", "bool_"),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "numpy._core.multiarray": ("scalar", "_reconstruct"),
    "yaml.loader": ("FullLoader",),
    "recsys.integrations.recbole.adapter": ("class_of",),
}
"""What a pickle may name and call, beside storages, types of numbers and RecBole's enumerations."""
DAMAGED = (pickle.UnpicklingError, EOFError, OSError, RuntimeError, ValueError, ImportError, AttributeError, KeyError)
"""What `torch.load` raises of a file that is missing, cut short, no checkpoint, or of another code."""


class Unpickler(pickle.Unpickler):
    """Admits data, settings and the names of models; anything else that a file names is refused, not run."""

    def find_class(self, module: str, name: str) -> Any:
        """The object of that name, or what may stand for it."""
        kind = {"numpy.dtypes": "DType", "torch": "Storage"}.get(module)
        plain_name = "." not in name
        if name in ADMITTED.get(module, ()) or (kind and plain_name and name.endswith(kind)):
            return super().find_class(module, name)
        if module.startswith("recbole.") and plain_name:
            found = super().find_class(module, name)
            if found is Config:
                return EmptyConfig
            if isinstance(found, type) and issubclass(found, Enum):
                return found
            if isinstance(found, type) and issubclass(found, nn.Module):
                return None  # never built from a file; `loader` looks the class up by its name
        raise pickle.UnpicklingError(f"it names {module}.{name}, which a checkpoint has no business with")


class NeverCalled(type):
    """The type of classes that a file may fill, but not call: calling `Config` evaluates what it is given."""

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        """Refused."""
        raise pickle.UnpicklingError("it calls RecBole's Config instead of storing one")


class EmptyConfig(metaclass=NeverCalled):
    """Stands for RecBole's `Config` in a file: makes one without running its `__init__`."""

    def __new__(cls) -> Any:
        """A `Config` without content, which the file then fills."""
        return object.__new__(Config)


def loader(original: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.load` for RecBole: who does not say `weights_only` gets every checkpoint, safely.

    A checkpoint of ours comes with a RecBole `Config` in the place of the plain one, as `load_data_and_model` expects.
    """

    def load(file: Any, *arguments: Any, **options: Any) -> Any:
        if "weights_only" in options or arguments[1:]:
            return original(file, *arguments, **options)
        try:
            content = original(file, *arguments, weights_only=False, pickle_module=CAREFUL, **options)
        except DAMAGED as error:
            raise unread(file, error) from error
        if not isinstance(content, Mapping):
            return content
        if BRIDGE in content:
            return revived(content)
        if isinstance(config := content.get("config"), Config):
            config.model_class = get_model(config["model"])
        return content

    return load


def unread(file: Any, error: Exception) -> InputError:
    """What is said of a file that is no checkpoint, or no longer one."""
    return InputError(f"{file}: is not read, for {str(error) or 'it is cut short'}")


def legacy(file: Any, **options: Any) -> Any:
    """As `pickle.load`, with the same care; torch's files before 1.6 ask for it."""
    return Unpickler(file, **options).load()


CAREFUL = SimpleNamespace(__name__="careful", Unpickler=Unpickler, load=legacy)
"""What stands for the module `pickle`."""


def revived(content: Mapping[str, Any]) -> dict[str, Any]:
    """The same checkpoint with a `Config` that RecBole can work with."""
    from recsys.integrations.recbole.adapter import class_of

    made = content[BRIDGE]
    # Config evaluates strings: a quoted one is itself, whatever it says
    written = {key: repr(value) if isinstance(value, str) else value for key, value in made["written"].items()}
    model = class_of(made["kind"], made["hyper"])
    return {**content, "config": Config(model=model, dataset=made["dataset"], config_dict=written)}


def save(path: str, config: Any, model: Any, state: TrainingState, position: Mapping[str, Any]) -> None:
    """Write a checkpoint in RecBole's layout, made of tensors, numbers, strings, lists and dictionaries."""
    content = {
        **position,
        "config": plain(config.final_config_dict),
        BRIDGE: {
            "kind": model.kind,
            "hyper": plain(model.hyper),
            "dataset": config["dataset"],
            "written": plain(config.external_config_dict),
        },
        "state_dict": model.state_dict(),
        "other_parameter": {},
        "optimizer": {phase: optimizer.state_dict() for phase, optimizer in state.optimizers.items()},
        "random": state.random(),
        "scaler": state.scaler.state_dict(),
    }
    with replacing(Path(path)) as scratch:
        torch.save(content, scratch)


def resume(path: str, model: Any, state: TrainingState) -> Mapping[str, Any]:
    """Put weights, optimisers and random draws back; the rest of the checkpoint is returned."""
    try:
        content = torch.load(path, map_location=model.recommender.device, weights_only=True)
    except DAMAGED as error:
        raise unread(path, error) from error
    if BRIDGE not in content:
        raise InputError(f"{path}: was not written by our trainer, so that it lacks what a resumed training needs")
    if content[BRIDGE]["kind"] != model.kind:
        raise InputError(f"{path}: is of the model {content[BRIDGE]['kind']}, not of {model.kind}")
    model.load_state_dict(content["state_dict"])
    for phase, optimizer in state.optimizers.items():
        optimizer.load_state_dict(content["optimizer"][phase])
    state.restore_random({name: value.cpu() for name, value in content["random"].items()})
    state.scaler.load_state_dict(content["scaler"])
    state.epoch, state.step = content["epoch"], content["step"]
    return content


def plain(value: Any) -> Any:
    """Numbers, strings, lists and dictionaries as they are, anything else by its name."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if type(value) in PLAIN else str(value)
