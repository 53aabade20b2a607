"""Recommenders that learn by contrast: data, views, models, training, evaluation, command line.

>>> run = recsys.train("configs/ml-100k.yaml")      # doctest: +SKIP
>>> run.recommend(users=["196"], k=10)              # doctest: +SKIP
>>> recsys.Run.open("runs/...").evaluate()          # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys.data.catalog import load_split, split_interactions
    from recsys.data.interactions import Interactions, Split
    from recsys.run import Run
    from recsys.training import train

__all__ = ["Interactions", "Run", "Split", "load_split", "split_interactions", "train"]

_HOMES = {
    "Interactions": "recsys.data.interactions",
    "Split": "recsys.data.interactions",
    "Run": "recsys.run",
    "load_split": "recsys.data.catalog",
    "split_interactions": "recsys.data.catalog",
    "train": "recsys.training",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: the data room needs nothing of the training."""
    if name not in __all__:
        raise AttributeError(f"module 'recsys' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
