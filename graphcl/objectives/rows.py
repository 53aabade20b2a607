"""One direction of a contrast: logits, positives and terms, from which numerators and denominators take their sums."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.kernel import PairTerm, Tile, row_lse
from graphcl.objectives.positives import Positives
from graphcl.objectives.weights import Exclude, Only, without


@dataclass(frozen=True, eq=False, kw_only=True)
class MeanPositive:
    """Rows whose positive logit is the mean over positives: SupCon's "out" form, and every loss with one positive."""

    x: Tensor
    """anchors over the temperature, [N, d]"""
    y: Tensor
    """candidates, [M, d]"""
    positives: Positives
    terms: Sequence[PairTerm] = ()
    col_bias: Tensor | None = None
    queue: Tensor | None = None
    """candidates that are nobody's positives, [K, d]"""
    queue_terms: Sequence[PairTerm] = ()
    negatives_within: bool = True
    tau: Tensor
    """scalar, [N, 1] or [1, M]; already applied to `x` or `y`"""
    tile: Tile | str | None = "auto"

    @cached_property
    def positive(self) -> Tensor:
        """The positive logit of each anchor, [N]."""
        return (self.x * self.positives.target(self.y)).sum(1)

    @property
    def anchor(self) -> Tensor:
        """The anchor of each row, int64 [N]."""
        return torch.arange(len(self.x), device=self.x.device)

    @property
    def present(self) -> Tensor:
        """Which anchors have a positive, bool [N]."""
        return self.positives.present()

    @property
    def temperature(self) -> Tensor:
        """The temperature of each anchor, scalar or [N]."""
        if self.tau.ndim == 2 and self.tau.shape[0] == 1 and self.tau.shape[1] > 1:
            raise InputError("This objective needs a temperature per anchor; with one per candidate it is not defined.")
        return self.tau.flatten() if self.tau.ndim else self.tau

    def everything(self) -> Tensor:
        """The log of the sum over positives and negatives of w e^a, [N]."""
        if not self.negatives_within:
            return torch.logaddexp(self.negatives(), self.positive)
        return self._with_queue(self._lse(self.x, self.y, self.terms, self.col_bias), self.x)

    def negatives(self, scale: float = 1.0) -> Tensor:
        """The log of the sum over negatives of w e^(scale a), [N]."""
        x = self.x if scale == 1.0 else self.x * scale
        if not self.negatives_within:
            return self._with_queue(x.new_full((len(x),), -torch.inf), x)
        return self._with_queue(self._lse(x, self.y, self._negative_terms, self.col_bias), x)

    def log_count(self) -> Tensor:
        """The log of the sum over negatives of w, [N]; learned weights get a gradient."""
        terms = self._negative_terms
        excluded = [term.column for term in terms if isinstance(term, Exclude)]
        weighed = len(excluded) < len(terms) or self.col_bias is not None or self.queue_terms
        if weighed or not self.negatives_within:
            queue = None if self.queue is None else self.queue.detach()
            return replace(self, x=torch.zeros_like(self.x), y=self.y.detach(), queue=queue).negatives()
        # Each term leaves out one candidate at most: what is left is counted without a pass over the pairs.
        ordered = torch.stack(excluded).sort(0).values
        left_out = ordered >= 0
        left_out[1:] &= ordered[1:] != ordered[:-1]
        count = len(self.y) + (0 if self.queue is None else len(self.queue)) - left_out.sum(0)
        return count.to(self.x.dtype).log()[self.anchor]

    @property
    def _negative_terms(self) -> tuple[PairTerm, ...]:
        return *self.terms, without(self.positives)

    def refuse_incomplete(self, complete: Tensor) -> None:
        """Raise `InputError` where an anchor has no positive, or a row that is not `complete`: an empty denominator."""
        alone = (~self.positives.present()).nonzero().flatten()
        empty = self.anchor[~complete]
        for found, lacks in ((alone, "no positive"), (empty, "an empty denominator")):
            if len(found):
                raise InputError(
                    f"Anchor {int(found[0])} has {lacks}; give it one, or pass incomplete='skip' to leave it out."
                )

    def _with_queue(self, lse: Tensor, x: Tensor) -> Tensor:
        if self.queue is None or not len(self.queue):
            return lse
        more = self._lse(x, self.queue, self.queue_terms, None)
        # logaddexp(-inf, -inf) has no gradient; a row without candidates keeps its -inf and gets none.
        empty = torch.isneginf(lse) & torch.isneginf(more)
        return torch.logaddexp(lse.masked_fill(empty, 0), more).masked_fill(empty, -torch.inf)

    def _lse(self, x: Tensor, y: Tensor, terms: Sequence[PairTerm], col_bias: Tensor | None) -> Tensor:
        return row_lse(x, y, col_bias=col_bias, terms=terms, tile=self.tile)


class SumPositive(MeanPositive):
    """Rows whose positive logit is the log of the sum over positives: the "in" form (HeCo)."""

    @cached_property
    def positive(self) -> Tensor:
        """The log of the sum of e^a over positives, [N]; 0 for an anchor without one, which is left out."""
        lse = self._lse(self.x, self.y, (Only(self.positives),), None)
        return lse.masked_fill(torch.isneginf(lse), 0.0)


class EachPositive(MeanPositive):
    """Rows that stand for pairs: every positive is a loss of its own, against the negatives of its anchor."""

    @cached_property
    def _edges(self) -> Tensor:
        return self.positives.edges()

    @cached_property
    def positive(self) -> Tensor:
        """The logit of each positive pair, [E]."""
        row, col = self._edges
        return (self.x[row] * self.y[col]).sum(1)

    @property
    def anchor(self) -> Tensor:
        """The anchor of each pair, int64 [E]."""
        return self._edges[0]

    @property
    def present(self) -> Tensor:
        """True for every pair, [E]."""
        return torch.ones(self._edges.shape[1], dtype=torch.bool, device=self.x.device)

    @property
    def temperature(self) -> Tensor:
        """The temperature of each pair, scalar or [E]."""
        tau = super().temperature
        return tau[self.anchor] if tau.numel() > 1 else tau

    def everything(self) -> Tensor:
        """The log of w e^a of the pair itself plus the sum over the anchor's negatives, [E]."""
        own = self.positive if self.col_bias is None else self.positive + self.col_bias[self._edges[1]]
        return torch.logaddexp(self.negatives(), own)

    def negatives(self, scale: float = 1.0) -> Tensor:
        """The log of the sum over the negatives of the pair's anchor, [E]."""
        return super().negatives(scale)[self.anchor]
