"""Which candidates are positives of which anchor.

Because every similarity is an inner product, the mean positive logit is the logit of the mean positive: a set of
positives only has to say what that mean is, `target(y)` [N, d]. No [N, M] mask is needed for it, whatever the number of
positives.
"""

# ruff: noqa: D102 -- what a method returns is said once, at the protocol or abstract class it implements

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.kernel import blocks
from graphcl.ops import without_autocast


class Positives(ABC):
    """A non-negative affinity q_ij of N anchors to M candidates, whose rows are used as shares q_ij / sum_j q_ij."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """N and M."""

    @abstractmethod
    def target(self, y: Tensor) -> Tensor:
        """sum_j q_ij y_j / sum_j q_ij [N, d] for candidates `y` [M, d]; zero for an anchor without a positive."""

    @abstractmethod
    def present(self) -> Tensor:
        """Which anchors have a positive, bool [N]."""

    @abstractmethod
    def tile(self, rows: slice, cols: slice) -> Tensor:
        """Whether q_ij > 0, bool [r, c]."""

    @abstractmethod
    def edges(self) -> Tensor:
        """The pairs with q_ij > 0, int64 [2, E], anchors first."""

    @abstractmethod
    def transposed(self) -> "Positives":
        """The same pairs with anchors and candidates exchanged."""

    @abstractmethod
    def leaving_out(self, column: Tensor) -> "Positives":
        """The same without the pair of each anchor and candidate `column[i]`, int64 [N], -1 for none."""

    def place_when_transposed(self) -> Tensor:
        """[E] where each pair of `edges()` stands among those of `transposed()`."""
        (row, col), (back_col, back_row) = self.edges(), self.transposed().edges()
        place = torch.empty_like(row)
        place[torch.argsort(row * self.shape[1] + col)] = torch.argsort(back_row * self.shape[1] + back_col)
        return place

    def refuse_misfit(self, num_anchors: int, num_candidates: int) -> None:
        """Raise `InputError` unless these are positives of so many anchors and candidates."""
        if self.shape != (num_anchors, num_candidates):
            raise InputError(
                f"positives are of {self.shape[0]} anchors and {self.shape[1]} candidates, but there are "
                f"{num_anchors} and {num_candidates}."
            )


@dataclass(frozen=True, eq=False)
class Index(Positives):
    """One positive per anchor: candidate `index[i]`, or none where it is -1."""

    index: Tensor
    """int64 [N]"""
    num_candidates: int
    """M"""

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.index), self.num_candidates

    def refuse_misfit(self, num_anchors: int, num_candidates: int) -> None:
        super().refuse_misfit(num_anchors, num_candidates)
        refuse_outside("candidate", self.index, -1, num_candidates)

    def target(self, y: Tensor) -> Tensor:
        return y[self.index.clamp(min=0)] * self.present()[:, None]

    def present(self) -> Tensor:
        return self.index >= 0

    def tile(self, rows: slice, cols: slice) -> Tensor:
        column = torch.arange(cols.start, cols.stop, device=self.index.device)
        return self.index[rows, None] == column

    def edges(self) -> Tensor:
        row = self.present().nonzero()[:, 0]
        return torch.stack([row, self.index[row]])

    def transposed(self) -> Positives:
        order = torch.argsort(self.index)
        counted = torch.arange(len(self.index), device=self.index.device)
        if len(counted) == self.num_candidates and torch.equal(self.index[order], counted):
            return Index(order, len(order))
        return Edges(self.edges().flip(0), num_anchors=self.num_candidates, num_candidates=len(self.index))

    def leaving_out(self, column: Tensor) -> Positives:
        return Index(self.index.masked_fill(self.index == column, -1), self.num_candidates)


@dataclass(frozen=True, eq=False)
class Labels(Positives):
    """Candidates with the anchor's label, except the anchor itself, which is candidate `own[i]` where given."""

    anchor: Tensor
    """int64 [N]"""
    candidate: Tensor
    """int64 [M]"""
    own: Tensor | None = None
    """int64 [N]; its label is the anchor's"""

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.anchor), len(self.candidate)

    def target(self, y: Tensor) -> Tensor:
        distinct, classes = torch.unique(torch.cat([self.anchor, self.candidate]), return_inverse=True)
        of_anchor, of_candidate = classes.split([len(self.anchor), len(self.candidate)])
        total = y.new_zeros(len(distinct), y.shape[1]).index_add(0, of_candidate, y)[of_anchor]
        if self.own is not None:
            total = total - y[self.own]
        count = self._count()
        return total * (count > 0)[:, None] / count.clamp(min=1)[:, None]

    def present(self) -> Tensor:
        return self._count() > 0

    def _count(self) -> Tensor:
        ordered = self.candidate.sort().values
        right = torch.searchsorted(ordered, self.anchor, right=True)
        left = torch.searchsorted(ordered, self.anchor, right=False)
        return right - left - (0 if self.own is None else 1)

    def tile(self, rows: slice, cols: slice) -> Tensor:
        same = self.anchor[rows, None] == self.candidate[cols]
        if self.own is not None:
            same &= self.own[rows, None] != torch.arange(cols.start, cols.stop, device=same.device)
        return same

    def edges(self) -> Tensor:
        return pairs_above_zero(self.tile, len(self.anchor), len(self.candidate))

    def transposed(self) -> Positives:
        own = None if self.own is None else torch.argsort(self.own)
        return Labels(self.candidate, self.anchor, own)

    def leaving_out(self, column: Tensor) -> Positives:
        if self.own is None and torch.equal(self.anchor, self.candidate[column]):
            return replace(self, own=column)
        if self.own is not None and torch.equal(self.own, column):
            return self
        return Edges(self.edges(), *self.shape).leaving_out(column)


@dataclass(frozen=True, eq=False)
class Edges(Positives):
    """Positives as a list of pairs, with a weight each if some count more than others."""

    edge_index: Tensor
    """int64 [2, E], anchors first, no pair twice"""
    num_anchors: int
    """N"""
    num_candidates: int
    """M"""
    weight: Tensor | None = None
    """[E], not negative; None weighs all alike. It shapes the mean; "lse" and "each" take all pairs above 0 alike"""

    def __post_init__(self) -> None:
        given = self.edge_index
        if given.dim() != 2 or len(given) != 2 or given.is_floating_point():
            raise InputError(f"positives: edge_index needs integers [2, E], got {given.dtype} {list(given.shape)}.")
        if self.weight is not None and self.weight.shape != given.shape[1:]:
            raise InputError(f"positives: {given.shape[1]} pairs came with weights of shape {list(self.weight.shape)}.")
        if self.weight is not None and (self.weight < 0).any():
            raise InputError("positives: weights must not be negative; 0 leaves a pair out.")

    @property
    def shape(self) -> tuple[int, int]:
        return self.num_anchors, self.num_candidates

    @cached_property
    def _by_anchor(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Anchors, candidates and weights in the order of anchors, and where each anchor begins."""
        refuse_outside("anchor", self.edge_index[0], 0, self.num_anchors)
        refuse_outside("candidate", self.edge_index[1], 0, self.num_candidates)
        order = torch.argsort(self.edge_index[0], stable=True)
        row, col = self.edge_index[:, order]
        weight = torch.ones(len(row), device=row.device) if self.weight is None else self.weight.detach()[order]
        start = torch.searchsorted(row, torch.arange(self.num_anchors + 1, device=row.device))
        return row, col, weight, start

    def target(self, y: Tensor) -> Tensor:
        row, col, weight, _ = self._by_anchor
        weight = weight.to(y.dtype)
        mass = y.new_zeros(self.num_anchors).index_add(0, row, weight)
        share = weight / torch.where(mass > 0, mass, 1.0)[row]

        def move(values: Tensor, source: Tensor, to: Tensor, size: int) -> Tensor:
            total = values.new_zeros(size, values.shape[1])
            for part in blocks(len(share), 1 << 16):  # [E, d] would dwarf everything else
                total.index_add_(0, to[part], values[source[part]] * share[part, None])
            return total

        return LinearMap.apply(
            y, lambda v: move(v, col, row, self.num_anchors), lambda v: move(v, row, col, self.num_candidates)
        )

    def present(self) -> Tensor:
        row, _, weight, start = self._by_anchor
        return torch.zeros(len(start) - 1, device=row.device, dtype=weight.dtype).index_add(0, row, weight) > 0

    def tile(self, rows: slice, cols: slice) -> Tensor:
        row, col, weight, start = self._by_anchor
        part = slice(int(start[rows.start]), int(start[rows.stop]))
        row, col = row[part], col[part]
        inside = (col >= cols.start) & (col < cols.stop) & (weight[part] > 0)
        mask = torch.zeros(rows.stop - rows.start, cols.stop - cols.start, dtype=torch.bool, device=row.device)
        mask[row[inside] - rows.start, col[inside] - cols.start] = True
        return mask

    def edges(self) -> Tensor:
        row, col, weight, _ = self._by_anchor
        return torch.stack([row, col])[:, weight > 0]

    def transposed(self) -> Positives:
        return Edges(self.edge_index.flip(0), self.num_candidates, self.num_anchors, self.weight)

    def leaving_out(self, column: Tensor) -> Positives:
        row, col, weight, _ = self._by_anchor
        kept = col != column[row]
        if kept.all():
            return self
        shares = None if self.weight is None else weight[kept]
        return Edges(torch.stack([row, col])[:, kept], self.num_anchors, self.num_candidates, shares)


class LinearMap(torch.autograd.Function):
    """A constant linear map and its transpose, neither of them stored as a matrix."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, forward: Callable[[Tensor], Tensor], backward: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.forward_map, ctx.backward_map = forward, backward
        return forward(y)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None, None]:
        # Applied as a Function again, so that a second derivative is as right as the first.
        return LinearMap.apply(cotangents[0], ctx.backward_map, ctx.forward_map), None, None


def refuse_outside(what: str, numbers: Tensor, least: int, end: int) -> None:
    """Raise `InputError` where positives name something by a number that is not in `range(least, end)`."""
    wrong = numbers[(numbers < least) | (numbers >= end)]
    if len(wrong):
        raise InputError(f"positives: {what} {int(wrong[0])} is named, but they are numbered {least}..{end - 1}.")


def pairs_above_zero(tile: Callable[[slice, slice], Tensor], num_anchors: int, num_candidates: int) -> Tensor:
    """Int64 [2, E]: the pairs of `tile`, a block of anchors at a time."""
    found = [torch.empty(2, 0, dtype=torch.int64)]
    for rows in blocks(num_anchors, 1024):
        row, col = tile(rows, slice(0, num_candidates)).nonzero().T
        found.append(torch.stack([row + rows.start, col]))
    return torch.cat([pairs.to(found[-1].device) for pairs in found], 1)
