"""Recommenders that learn by contrast: data, views, models, training, evaluation, command line.

>>> run = recsys.train("configs/ml-100k.yaml")      # doctest: +SKIP
>>> run.recommend(users=["196"], k=10)              # doctest: +SKIP
>>> recsys.Run.open("runs/...").evaluate()          # doctest: +SKIP
"""

from recsys.data.interactions import Interactions, Split
from recsys.run import Run, train

__all__ = ["Interactions", "Run", "Split", "train"]
