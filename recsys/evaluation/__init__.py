"""Full ranking, metrics as pure functions of ranks, slices, significance."""

from recsys.evaluation.metrics import measure, parse, per_user
from recsys.evaluation.ranking import Ranking, rank

__all__ = ["Ranking", "measure", "parse", "per_user", "rank"]
