"""Losses that are a sum over pairs, f(a_ij) each, and no softmax: the second streaming kernel."""

from collections.abc import Callable, Iterator
from math import log
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.arguments import as_positives
from graphcl.objectives.finite import finite
from graphcl.objectives.kernel import TILE_CPU, TILE_GPU, Tile, blocks
from graphcl.objectives.positives import Index, Positives
from graphcl.objectives.similarity import Similarity, cosine, dot
from graphcl.objectives.tables import refuse_temperature, tables
from graphcl.ops import full_precision, without_autocast

PairValue = Callable[[Tensor, slice, slice], Tensor]
"""Maps logits [r, c] of a slice of anchors and a slice of candidates to values [r, c], entry by entry."""
PairMask = Callable[[slice, slice], Tensor]
"""Says for a slice of anchors and one of candidates which pairs take part, bool or 0 and 1, [r, c]."""
Window = Callable[[slice], slice]
"""Says for a slice of anchors which candidates any of them is paired with."""


def pair_sum(
    x: Tensor,
    y: Tensor,
    value: PairValue,
    *,
    slope: PairValue | None = None,
    window: Window | None = None,
    tile: Tile | Literal["auto"] = "auto",
) -> Tensor:
    """sum_j f(x_i . y_j) of each row, [N], for `x` [N, d] and `y` [M, d], in tiles: O((N + M) d) memory.

    Gradients reach `x` and `y`, once differentiable; what `value` closes over counts as constant. `slope` is f', where
    autograd shall not find it; `window` the candidates of a slice of anchors, where the others count nothing.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = full_precision(x), full_precision(y)
        size = (TILE_GPU if x.is_cuda else TILE_CPU) if tile == "auto" else tile
        result: Tensor = _PairSum.apply(x, y, value, slope, window or (lambda rows: slice(0, len(y))), size)
    return result


def jsd(
    a: Tensor,
    b: Tensor,
    *,
    positives: Positives | Tensor | None = None,
    negatives: PairMask | None = None,
    similarity: Similarity = dot,
) -> Tensor:
    """Jensen-Shannon estimator of mutual information, negated (arXiv 1808.06670; DGI, InfoGraph, GCA's "JSD").

    mean over positive pairs of softplus(-s) - log 2, plus mean over negative pairs of softplus(s) - log 2. Positives
    are the pairs (i, i) and negatives all others, unless given. `a` [N, d] and `b` [M, d]; `positives` may be the
    candidate of each anchor, int64 [N].
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b = tables(a, b)
        chosen = as_positives(torch.arange(len(a), device=a.device) if positives is None else positives, len(b))
        chosen.refuse_misfit(len(a), len(b))
        x, y = similarity(a, b)
        row, col = chosen.edges()
        pull = softplus(-(x[row] * y[col]).sum(1)).mean()

        def is_negative(rows: slice, cols: slice) -> Tensor:
            return ~chosen.tile(rows, cols) if negatives is None else negatives(rows, cols)

        count = sum(is_negative(rows, slice(0, len(b))).sum() for rows in blocks(len(a), 512))
        if not count or not len(row):
            raise InputError("JSD needs at least one positive and one negative pair.")
        push = pair_sum(x, y, lambda logits, rows, cols: softplus(logits) * is_negative(rows, cols)).sum() / count
        return finite(pull + push - 2 * log(2), the_first_view=a, the_second_view=b)


def pair_cross_entropy(
    a: Tensor,
    b: Tensor,
    *,
    target: PairMask | None = None,
    temperature: float | Tensor = 0.1,
    bias: float | Tensor = 0.0,
    similarity: Similarity = cosine,
) -> Tensor:
    """Binary cross-entropy of sigmoid(s_ij / temperature + bias) against t_ij, summed over candidates (SigLIP).

    Mean over anchors; `target` t in [0, 1] by slices, 1 for the pairs (i, i) unless given (arXiv 2303.15343, where
    `bias` starts at -10 and both are learned). `a` [N, d], `b` [M, d].
    """
    refuse_temperature(temperature)
    with torch.autocast(a.device.type, enabled=False):
        x, y = similarity(*tables(a, b))
        # The bias is one coordinate more, so that its gradient comes from the same products.
        x = torch.cat([x / temperature, torch.ones_like(x[:, :1]) * bias], 1)
        y = torch.cat([y, torch.ones_like(y[:, :1])], 1)
        chosen = Index(torch.arange(len(a), device=a.device), len(b))
        if target is None:
            chosen.refuse_misfit(len(a), len(b))

        hit = chosen.tile if target is None else target

        def value(logits: Tensor, rows: slice, cols: slice) -> Tensor:
            return softplus(logits) - hit(rows, cols) * logits

        def slope(logits: Tensor, rows: slice, cols: slice) -> Tensor:
            return logits.sigmoid_().sub_(hit(rows, cols).to(logits.dtype))

        return finite(pair_sum(x, y, value, slope=slope).mean(), the_first_view=a, the_second_view=b)


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, value: PairValue, slope: PairValue | None, window: Window, tile: Tile
    ) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.value, ctx.slope, ctx.window, ctx.tile = value, slope, window, tile
        total = x.new_zeros(len(x))
        for rows, cols in _tiles(len(x), window, tile):
            total[rows] += value(x[rows] @ y[cols].T, rows, cols).sum(1)
        return total

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        if torch.is_grad_enabled():
            raise InputError("The streaming pair sum can be differentiated once, not twice (create_graph=True).")
        x, y = ctx.saved_tensors
        grad_x, grad_y = torch.zeros_like(x), torch.zeros_like(y)
        for rows, cols in _tiles(len(x), ctx.window, ctx.tile):
            logits, cotangent = x[rows] @ y[cols].T, cotangents[0][rows, None]
            if ctx.slope is not None:
                slope = ctx.slope(logits, rows, cols) * cotangent
            else:
                with torch.enable_grad():
                    values = ctx.value(logits.requires_grad_(), rows, cols)
                (slope,) = torch.autograd.grad(values, logits, cotangent.expand_as(values))
            grad_x[rows].addmm_(slope, y[cols])
            grad_y[cols].addmm_(slope.T, x[rows])
        return grad_x, grad_y, None, None, None, None


def _tiles(length: int, window: Window, tile: Tile) -> Iterator[tuple[slice, slice]]:
    for rows in blocks(length, tile[0]):
        whole = window(rows)
        for part in blocks(whole.stop - whole.start, tile[1]):
            yield rows, slice(whole.start + part.start, whole.start + part.stop)


def softplus(values: Tensor) -> Tensor:
    """log(1 + e^x) to the last digit: torch's own is linear from 20 on, off by 2e-9."""
    return -F.logsigmoid(-values)
