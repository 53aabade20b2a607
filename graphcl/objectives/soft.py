"""Positives in degrees: every candidate is one, the more the greater its affinity to the anchor."""

# ruff: noqa: D102 -- what a method returns is said once, at the abstract class it implements

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphcl.objectives.kernel import blocks
from graphcl.objectives.positives import LinearMap, Positives, pairs_above_zero


@dataclass(frozen=True, eq=False)
class Soft(Positives):
    """Graded targets, computed a block of anchors at a time; no gradient flows into them."""

    affinity: Callable[[slice], Tensor]
    """maps a slice of anchors to q [r, M], not negative; `lambda rows: q[rows]` for a matrix that fits in memory"""
    num_anchors: int
    """N"""
    num_candidates: int
    """M"""
    block: int = 512
    """anchors at a time"""

    @property
    def shape(self) -> tuple[int, int]:
        return self.num_anchors, self.num_candidates

    def in_blocks(self, like: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Slices of anchors and their affinities [r, M], in the type of `like`."""
        for rows in blocks(self.num_anchors, self.block):
            with torch.no_grad():  # never around the yield: an error at the caller's would leave gradients off
                affinity = self.affinity(rows).to(like.dtype)
            yield rows, affinity

    def target(self, y: Tensor) -> Tensor:
        def forward(values: Tensor) -> Tensor:
            return torch.cat([_shares(q) @ values for _, q in self.in_blocks(y)])

        def backward(cotangent: Tensor) -> Tensor:
            return sum((_shares(q).T @ cotangent[rows] for rows, q in self.in_blocks(y)), torch.zeros_like(y))

        return LinearMap.apply(y, forward, backward)

    def present(self) -> Tensor:
        return torch.cat([self.affinity(rows).sum(1) > 0 for rows in blocks(self.num_anchors, self.block)])

    def tile(self, rows: slice, cols: slice) -> Tensor:
        return self.affinity(rows)[:, cols] > 0

    def edges(self) -> Tensor:
        return pairs_above_zero(self.tile, self.num_anchors, self.num_candidates)

    def transposed(self) -> Positives:
        return SoftColumns(self)

    def leaving_out(self, column: Tensor) -> "Soft":
        def affinity(rows: slice) -> Tensor:
            q, named = self.affinity(rows), column[rows, None]
            place = named.clamp(min=0)
            return q.scatter(1, place, q.gather(1, place).masked_fill(named >= 0, 0))

        return replace(self, affinity=affinity)


@dataclass(frozen=True, eq=False)
class SoftColumns(Positives):
    """Graded targets with anchors and candidates exchanged; affinities are still computed by blocks of rows."""

    of: Soft

    @property
    def shape(self) -> tuple[int, int]:
        return self.of.num_candidates, self.of.num_anchors

    def _mass(self, like: Tensor) -> Tensor:
        """[M] the sum over rows of the affinity."""
        return sum((q.sum(0) for _, q in self.of.in_blocks(like)), like.new_zeros(self.of.num_candidates))

    def target(self, y: Tensor) -> Tensor:
        mass = self._mass(y)
        mass = torch.where(mass > 0, mass, 1.0)[:, None]

        def forward(values: Tensor) -> Tensor:
            zero = values.new_zeros(len(mass), values.shape[1])
            return sum((q.T @ values[rows] for rows, q in self.of.in_blocks(y)), zero) / mass

        def backward(cotangent: Tensor) -> Tensor:
            return torch.cat([q @ (cotangent / mass) for _, q in self.of.in_blocks(y)])

        return LinearMap.apply(y, forward, backward)

    def present(self) -> Tensor:
        return torch.stack([self.of.affinity(rows).sum(0) for rows in blocks(self.shape[1], self.of.block)]).sum(0) > 0

    def tile(self, rows: slice, cols: slice) -> Tensor:
        return self.of.tile(cols, rows).T

    def edges(self) -> Tensor:
        pairs = self.of.edges().flip(0)
        return pairs[:, torch.argsort(pairs[0], stable=True)]

    def transposed(self) -> Positives:
        return self.of

    def leaving_out(self, column: Tensor) -> Positives:
        named = (column >= 0).nonzero().flatten()
        back = column.new_full((self.shape[1],), -1).index_copy(0, column[named], named)
        return SoftColumns(self.of.leaving_out(back))


def _shares(affinity: Tensor) -> Tensor:
    mass = affinity.sum(1, keepdim=True)
    return affinity / torch.where(mass > 0, mass, 1.0)
