"""EASE: each item as a linear combination of the others, in closed form (Steck, WWW 2019)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.ranges import Positive
from graphcl.training.learner import Sampler
from recsys.config import ConfigError
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.models.base import Index
from recsys.models.closed_form import ClosedForm, HistoryIndex, who_took


class EASE(ClosedForm):
    r"""Scores are X B with B the minimiser of $\|X - XB\|^2 + \lambda \|B\|^2$ under a zero diagonal:

    $B_{ij} = -P_{ij} / P_{jj}$ off the diagonal, $P = (X^\top X + \lambda I)^{-1}$ (eq. 8).

    X [U, I] is binary. B is dense and computed in place: it takes I x I floats, 0.6 GB for 12,000 items.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Keys of EASE."""

        reg_weight: Positive = 250.0
        """The ridge, lambda."""
        precision: Literal["fp32", "fp64"] = "fp32"
        """Numbers of the inversion; fp64 where the ridge is small beside the most popular item's count."""

    usual_search: ClassVar[dict[str, Any]] = {"reg_weight": {"low": 10.0, "high": 2000.0, "log": True}}

    config: Config
    weights: Tensor

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.register_buffer("weights", torch.zeros(train.num_items, train.num_items))

    def begin_epoch(self, sampler: Sampler) -> None:
        """Invert by Cholesky; raises ConfigError where the ridge is too small for that."""
        table = who_took(self.interactions).astype("f8" if self.config.precision == "fp64" else "f4")
        gram = torch.from_numpy((table @ table.T).toarray()).to(self.device)
        gram.diagonal().add_(self.config.reg_weight)
        # LAPACK works in place on column-major numbers, which the rows of a symmetric matrix are
        columns, failed = gram.mT, torch.zeros((), dtype=torch.int32, device=self.device)
        torch.linalg.cholesky_ex(columns, out=(columns, failed))
        if bool(failed):
            raise ConfigError(
                f"reg_weight: {self.config.reg_weight:g} is too small to invert the matrix in {self.config.precision}; "
                f"raise it or set precision: fp64"
            )
        torch.cholesky_inverse(columns, out=columns)
        # a new tensor, not a copy into the old one, which an index may still show
        self.weights = gram.div_(-gram.diagonal().clone()).fill_diagonal_(0).float()

    def index(self) -> Index:
        """Reads whole histories."""
        weights = self.weights

        def respond(history: Ragged) -> Tensor:
            items, offsets = history.distinct(len(weights))
            return F.embedding_bag(items, weights, offsets[:-1], mode="sum")

        return HistoryIndex.of(respond, weights)
