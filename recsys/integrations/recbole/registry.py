"""Our models under names that RecBole looks up: `get_model`, `get_trainer`, `create_dataset`."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphcl.errors import InputError, suggest
from recsys.integrations.recbole.compat import is_running, module
from recsys.models import MODELS

CLASSES: dict[str, Any] = {}
"""The class that RecBole finds by each name: the one that was made last."""
PREFIX = "Recsys"
"""Stands before the name of a model that RecBole has as well: `RecsysLightGCN` is ours, `LightGCN` RecBole's."""


def kind_of_model(name: str) -> str:
    """The key in `MODELS` of a model named like its class, its YAML kind, or as `recbole_name` says.

    Raises:
        InputError: there is no such model.
    """
    kinds = {label.lower(): kind for kind, model in MODELS.items() for label in (kind, model.__name__)}
    wanted = str(name).lower()
    if wanted not in kinds:
        wanted = wanted.removeprefix(PREFIX.lower())
    if wanted in kinds:
        return kinds[wanted]
    if is_recboles(str(name)):
        raise InputError(
            f"model: {name!r} is RecBole's, not ours; train it with RecBole's run_recbole inside 'with running():'"
        )
    names = [model.__name__ for model in MODELS.values()]
    raise InputError(f"model: there is no {name!r}{suggest(name, names)}")


def recbole_name(kind: str) -> str:
    """What RecBole calls a model of ours."""
    name = MODELS[kind].__name__
    return f"{PREFIX}{name}" if is_recboles(name) else name


def is_recboles(name: str) -> bool:
    """Whether RecBole has a model of that name."""
    import recbole.model

    return any(Path(recbole.model.__path__[0]).glob(f"*/{name.lower()}.py"))


def register(model: Any) -> None:
    """From now on RecBole finds `model` by its name."""
    CLASSES[model.__name__] = model
    if is_running():
        mount(model)


@contextmanager
def mounted() -> Iterator[None]:
    """RecBole finds every model of ours."""
    from recsys.integrations.recbole.adapter import make_class

    for kind in MODELS:
        if recbole_name(kind) not in CLASSES:
            CLASSES[recbole_name(kind)] = make_class(kind, {})
    for model in CLASSES.values():
        mount(model)
    try:
        yield
    finally:
        for model in CLASSES.values():
            unmount(model)


def mount(model: Any) -> None:
    """Put a class where RecBole looks for a model of its name, and our trainer and data set beside it."""
    from recsys.integrations.recbole.datasets import DATASETS
    from recsys.integrations.recbole.trainer import BridgeTrainer

    name = model.__name__
    sys.modules[model.home] = module(model.home, **{name: model})
    setattr(importlib.import_module("recbole.trainer"), f"{name}Trainer", BridgeTrainer)
    setattr(importlib.import_module("recbole.data.dataset"), f"{name}Dataset", DATASETS[model.recommender_class.task])


def unmount(model: Any) -> None:
    """Take it away again."""
    sys.modules.pop(model.home, None)
    vars(importlib.import_module("recbole.trainer")).pop(f"{model.__name__}Trainer", None)
    vars(importlib.import_module("recbole.data.dataset")).pop(f"{model.__name__}Dataset", None)
