"""RecBole's checkpoint files: ours hold plain data, RecBole's own are read without running what is in them."""

import pickle
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from graphcl.errors import InputError
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
"""What may be named in a pickle, beside torch's storages, dtypes and RecBole's own classes of settings and models."""


class Unpickler(pickle.Unpickler):
    """Admits data, settings and the names of models; anything else that a file names is refused, not run."""

    def find_class(self, module: str, name: str) -> Any:
        """The object of that name, if it is harmless."""
        if name in ADMITTED.get(module, ()) or module == "numpy.dtypes":
            return super().find_class(module, name)
        if module == "torch" and name.endswith("Storage"):
            return super().find_class(module, name)
        if module.startswith("recbole."):
            found = super().find_class(module, name)
            if isinstance(found, type) and is_setting_or_model(found):
                return found
        raise pickle.UnpicklingError(f"it names {module}.{name}, which a checkpoint has no business with")


def is_setting_or_model(found: type) -> bool:
    """Whether a class of RecBole's may occur in a checkpoint."""
    from enum import Enum

    from recbole.config import Config

    return issubclass(found, (Config, Enum, nn.Module))


def loader(original: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.load` for RecBole: who does not say `weights_only` gets every checkpoint, safely.

    A checkpoint of ours comes with a RecBole `Config` in the place of the plain one, as `load_data_and_model` expects.
    """

    def load(file: Any, *arguments: Any, **options: Any) -> Any:
        if "weights_only" in options or arguments[1:]:
            return original(file, *arguments, **options)
        try:
            content = original(file, *arguments, weights_only=False, pickle_module=CAREFUL, **options)
        except pickle.UnpicklingError as error:
            raise InputError(f"{file}: is not read, for {error}") from error
        return revived(content) if isinstance(content, Mapping) and BRIDGE in content else content

    return load


def legacy(file: Any, **options: Any) -> Any:
    """As `pickle.load`, with the same care; torch's files before 1.6 ask for it."""
    return Unpickler(file, **options).load()


CAREFUL = SimpleNamespace(__name__="careful", Unpickler=Unpickler, load=legacy)
"""What stands for the module `pickle`."""


def revived(content: Mapping[str, Any]) -> dict[str, Any]:
    """The same checkpoint with a `Config` that RecBole can work with."""
    from recbole.config import Config

    from recsys.integrations.recbole.adapter import class_of

    made = content[BRIDGE]
    model = class_of(made["kind"], made["hyper"])
    return {**content, "config": Config(model=model, dataset=made["dataset"], config_dict=dict(made["written"]))}


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
    torch.save(content, path)


def resume(path: str, model: Any, state: TrainingState) -> Mapping[str, Any]:
    """Put weights, optimisers and random draws back; the rest of the checkpoint is returned."""
    content = torch.load(path, map_location=model.recommender.device, weights_only=True)
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
