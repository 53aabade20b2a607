"""Weights and masks of pairs, as terms that the kernel adds to its tiles: log w_ij, or -inf for a pair left out."""

# ruff: noqa: D102 -- what a method returns is said once, at the protocol or abstract class it implements

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graphcl.errors import InputError
from graphcl.objectives.kernel import PairTerm
from graphcl.objectives.positives import Index, Positives
from graphcl.ops import full_precision


class _Constant:
    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return ()


@dataclass(frozen=True, eq=False)
class Exclude(_Constant):
    """Leaves out one candidate per anchor, usually the anchor itself; -1 leaves out none."""

    column: Tensor
    """int64 [N]"""

    def __call__(self, logits: Tensor, rows: slice, cols: slice, *_: Tensor) -> Tensor:
        column = self.column[rows, None] - cols.start
        inside = (column >= 0) & (column < logits.shape[1])
        column = torch.where(inside, column, 0)
        # Rows whose candidate lies in another tile write back what was there: one access per row, no [r, c] mask.
        return logits.scatter_(1, column, logits.gather(1, column).masked_fill(inside, -torch.inf))


@dataclass(frozen=True, eq=False)
class Only(_Constant):
    """Keeps the positives alone."""

    positives: Positives

    def __call__(self, logits: Tensor, rows: slice, cols: slice, *_: Tensor) -> Tensor:
        return logits.masked_fill_(~self.positives.tile(rows, cols), -torch.inf)


@dataclass(frozen=True, eq=False)
class Without(_Constant):
    """Leaves the positives out."""

    positives: Positives

    def __call__(self, logits: Tensor, rows: slice, cols: slice, *_: Tensor) -> Tensor:
        return logits.masked_fill_(self.positives.tile(rows, cols), -torch.inf)


def without(positives: Positives) -> PairTerm:
    """The cheapest term that leaves the positives out."""
    return Exclude(positives.index) if isinstance(positives, Index) else Without(positives)


@dataclass(frozen=True, eq=False)
class DistinctGroups(_Constant):
    """Leaves out candidates of the anchor's own group, which are false negatives; positives stay."""

    anchor: Tensor
    """int64 [N]"""
    candidate: Tensor
    """int64 [M]"""
    positives: Positives | None = None

    def __call__(self, logits: Tensor, rows: slice, cols: slice, *_: Tensor) -> Tensor:
        # Not on a GPU: the number of equal pairs would have to be waited for.
        if not logits.is_cuda and (self.positives is None or isinstance(self.positives, Index)):
            pairs = _EqualPairs(self.anchor[rows], self.candidate[cols])
            if pairs.total * RARE <= logits.numel():
                i, j = pairs.index()
                if self.positives is not None:
                    negative = self.positives.index[rows][i] != j + cols.start
                    i, j = i[negative], j[negative]
                return logits.index_put_((i, j), logits.new_tensor(-torch.inf))
        same = self.anchor[rows, None] == self.candidate[cols]
        if self.positives is not None:
            same &= ~self.positives.tile(rows, cols)
        return logits.masked_fill_(same, -torch.inf)


@dataclass(frozen=True, eq=False)
class ClusterWeight(_Constant):
    """w_ij = K minus the number of the K clusterings in which i and j share a cluster (MEOW).

    The pair (i, i) weighs nothing, so the denominator holds no positive. One clustering of distinct clusters is the
    decoupled loss.
    """

    anchor: Tensor
    """cluster of each anchor, int64 [K, N]"""
    candidate: Tensor | None = None
    """cluster of each candidate, int64 [K, M]; None where candidates are the anchors in another view"""

    def refuse_misfit(self, num_anchors: int, num_candidates: int) -> None:
        """Raise `InputError` unless these are clusters of so many anchors and candidates."""
        of = self.anchor.shape[1], (self.anchor if self.candidate is None else self.candidate).shape[1]
        if of != (num_anchors, num_candidates):
            raise InputError(
                f"weight: has clusters of {of[0]} anchors and {of[1]} candidates, but the pairing makes {num_anchors} "
                f"and {num_candidates}; repeat those of rows that stand in both views."
            )

    def __call__(self, logits: Tensor, rows: slice, cols: slice, *_: Tensor) -> Tensor:
        anchor, candidate = self.anchor[:, rows], (self.anchor if self.candidate is None else self.candidate)[:, cols]
        found = [_EqualPairs(a, b) for a, b in zip(anchor, candidate, strict=True)]
        if sum(pairs.total for pairs in found) * RARE > logits.numel():
            # Numbers of clusters, exact as floats below 2^24, are compared into floats: far faster than through bool.
            weight, same = torch.full_like(logits, len(anchor)), torch.empty_like(logits)
            for a, b in zip(anchor.to(weight), candidate.to(weight), strict=True):
                weight.sub_(torch.eq(a[:, None], b, out=same))
            return logits.add_(weight.log_())
        below = [math.log1p(-shared / len(anchor)) for shared in range(len(anchor))]
        logits.add_(math.log(len(anchor)))
        # Pairs that share a cluster are few: only they are found and weighed.
        i, j = (torch.cat(part) for part in zip(*(pairs.index() for pairs in found), strict=True))
        shared = torch.stack([a[i] == b[j] for a, b in zip(anchor, candidate, strict=True)]).sum(0)
        # A pair may be found by several clusterings; each writes the same value.
        return logits.index_put_((i, j), logits[i, j] + logits.new_tensor([*below, -torch.inf])[shared])


RARE = 16
"""Pairs are found and changed one by one where fewer than one in so many shares a cluster or group."""


class _EqualPairs:
    """Every (i, j) with a[i] == b[j], from sorting: no [r, c] table."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        value, self.order = b.sort()
        self.first = torch.searchsorted(value, a)
        self.count = torch.searchsorted(value, a, right=True) - self.first
        self.total = int(self.count.sum())

    def index(self) -> tuple[Tensor, Tensor]:
        """The two columns of the list."""
        device = self.count.device
        i = torch.repeat_interleave(torch.arange(len(self.count), device=device), self.count)
        start = torch.repeat_interleave(self.first - (self.count.cumsum(0) - self.count), self.count)
        return i, self.order[torch.arange(self.total, device=device) + start]


@dataclass(frozen=True, eq=False)
class PairFunction(_Constant):
    """Weights from any function of a slice of anchors and a slice of candidates: w [r, c] >= 0, or a bool mask."""

    weight: Callable[[slice, slice], Tensor]

    def __call__(self, logits: Tensor, rows: slice, cols: slice, *_: Tensor) -> Tensor:
        return logits.add_(self.weight(rows, cols).to(logits).log())


@dataclass(frozen=True, eq=False)
class PairMatrix:
    """Weights w [N, M] >= 0 that exist as a matrix and may carry a gradient (never where they are exactly 0)."""

    weight: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def __call__(self, logits: Tensor, rows: slice, cols: slice, *tensors: Tensor) -> Tensor:
        return logits + log_weight(tensors[0][rows, cols].to(logits.dtype))


class LearnedWeight:
    """log w_ij = net(x_i, y_j): a module with parameters, computed tile by tile and again in the backward pass.

    `net` maps [r, d] and [c, d] to log weights [r, c]; give logarithms (`logsigmoid`), so that no weight is 0.
    Gradients reach its parameters, `x` and `y`. Its buffers are only read; it must not draw random numbers.
    """

    def __init__(self, net: nn.Module, x: Tensor, y: Tensor) -> None:
        learned = dict(net.named_parameters())
        self.net, self.names = net, tuple(learned)
        # The network works in its own type, whatever that of the rows.
        views = [view.to(next(iter(learned.values())).dtype) if learned else full_precision(view) for view in (x, y)]
        self.tensors: tuple[Tensor, ...] = (*views, *learned.values())

    def __call__(self, logits: Tensor, rows: slice, cols: slice, *tensors: Tensor) -> Tensor:
        x, y, *parameters = tensors
        named = dict(zip(self.names, parameters, strict=True))
        return logits + torch.func.functional_call(self.net, named, (x[rows], y[cols])).to(logits.dtype)


@dataclass(frozen=True, eq=False)
class Transposed:
    """A term with anchors and candidates exchanged."""

    term: PairTerm

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.term.tensors

    def __call__(self, logits: Tensor, rows: slice, cols: slice, *tensors: Tensor) -> Tensor:
        return self.term(logits.T, cols, rows, *tensors).T


def log_weight(weight: Tensor) -> Tensor:
    """Logarithms of weights w >= 0; -inf at 0, without the infinite gradient of the logarithm there."""
    return weight.clamp(min=torch.finfo(weight.dtype).tiny).log().masked_fill(weight == 0, -torch.inf)


def as_term(weight: PairTerm | Tensor, shape: tuple[int, int]) -> PairTerm:
    """A matrix of weights as a term; a term as it is. `InputError` where one is seen not to be of `shape`."""
    if isinstance(weight, ClusterWeight):
        weight.refuse_misfit(*shape)
    if not isinstance(weight, Tensor):
        return weight
    if weight.shape != shape:
        raise InputError(f"weight needs the shape [anchors, candidates], {list(shape)}, not {list(weight.shape)}.")
    if (weight < 0).any():
        raise InputError("weight must not be negative; 0 leaves a pair out.")
    return PairMatrix(weight)
