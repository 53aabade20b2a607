"""Losses that are a sum over pairs, f(a_ij) each, and no softmax: the second streaming kernel."""

from collections.abc import Callable
from math import log
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.finite import finite
from graphcl.objectives.kernel import TILE_CPU, TILE_GPU, Tile, blocks
from graphcl.objectives.positives import Index, Labels, Positives
from graphcl.objectives.similarity import Similarity, cosine, dot
from graphcl.ops import full_precision

PairValue = Callable[[Tensor, slice, slice], Tensor]
"""Maps logits [r, c] of a slice of anchors and a slice of candidates to values [r, c], entry by entry."""
PairMask = Callable[[slice, slice], Tensor]
"""Says for a slice of anchors and one of candidates which pairs take part, bool or 0 and 1, [r, c]."""


def pair_sum(x: Tensor, y: Tensor, value: PairValue, *, tile: Tile | Literal["auto"] = "auto") -> Tensor:
    """sum_j f(x_i . y_j) of each row, [N], for `x` [N, d] and `y` [M, d], in tiles: O((N + M) d) memory.

    Gradients reach `x` and `y`, once differentiable; what `value` closes over counts as constant.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = full_precision(x), full_precision(y)
        result: Tensor = _PairSum.apply(x, y, value, (TILE_GPU if x.is_cuda else TILE_CPU) if tile == "auto" else tile)
    return result


def jsd(
    a: Tensor,
    b: Tensor,
    *,
    positives: Positives | None = None,
    negatives: PairMask | None = None,
    similarity: Similarity = dot,
) -> Tensor:
    """Jensen-Shannon estimator of mutual information, negated (arXiv 1808.06670; DGI, InfoGraph, GCA's "JSD").

    mean over positive pairs of softplus(-s) - log 2, plus mean over negative pairs of softplus(s) - log 2. Positives
    are the pairs (i, i) and negatives all others, unless given. `a` [N, d] and `b` [M, d].
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b = full_precision(a), full_precision(b)
        chosen = Index(torch.arange(len(a), device=a.device), len(b)) if positives is None else positives
        chosen.refuse_misfit(len(a), len(b))
        x, y = similarity(a, b)
        row, col = chosen.edges()
        pull = _softplus(-(x[row] * y[col]).sum(1)).mean()

        def is_negative(rows: slice, cols: slice) -> Tensor:
            return ~chosen.tile(rows, cols) if negatives is None else negatives(rows, cols)

        count = sum(is_negative(rows, slice(0, len(b))).sum() for rows in blocks(len(a), 512))
        if not count or not len(row):
            raise InputError("JSD needs at least one positive and one negative pair.")
        push = pair_sum(x, y, lambda logits, rows, cols: _softplus(logits) * is_negative(rows, cols)).sum() / count
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
    with torch.autocast(a.device.type, enabled=False):
        x, y = similarity(full_precision(a), full_precision(b))
        # The bias is one coordinate more, so that its gradient comes from the same products.
        x = torch.cat([x / temperature, torch.ones_like(x[:, :1]) * bias], 1)
        y = torch.cat([y, torch.ones_like(y[:, :1])], 1)
        chosen = Index(torch.arange(len(a), device=a.device), len(b))
        if target is None:
            chosen.refuse_misfit(len(a), len(b))

        def value(logits: Tensor, rows: slice, cols: slice) -> Tensor:
            hit = chosen.tile(rows, cols) if target is None else target(rows, cols)
            return _softplus(logits) - hit.to(logits.dtype) * logits

        return finite(pair_sum(x, y, value).mean(), the_first_view=a, the_second_view=b)


def circle(x: Tensor, labels: Tensor, *, margin: float = 0.4, scale: float = 80.0) -> Tensor:
    r"""Circle loss (Sun et al., CVPR 2020): mean over anchors of softplus(LSE over negatives + LSE over positives).

    A pair of one label counts $-\gamma [1 + m - s]_+ (s - 1 + m)$, any other $\gamma [s + m]_+ (s - m)$, with the
    brackets constant to the gradient: the farther a pair is from its goal, the faster it goes there. `x` [N, d] is
    compared by cosine, `labels` [N]; anchors without a positive or without a negative are left out.
    """
    with torch.autocast(x.device.type, enabled=False):
        z = F.normalize(full_precision(x), dim=1)
        same = Labels(labels, labels)
        same.refuse_misfit(len(x), len(x))
        near = _circle_side(z, lambda s: -scale * (1 + margin - s.detach()).clamp(min=0) * (s - 1 + margin), same, True)
        far = _circle_side(z, lambda s: scale * (s.detach() + margin).clamp(min=0) * (s - margin), same, False)
        whole = torch.isfinite(near.detach()) & torch.isfinite(far.detach())
        if not whole.any():
            raise InputError("Circle loss: no row has both a row of its own label and one of another.")
        return finite(_softplus(near[whole] + far[whole]).mean(), the_rows=x)


def _circle_side(z: Tensor, logit: Callable[[Tensor], Tensor], same: Positives, wanted: bool) -> Tensor:
    """[N] log-sum-exp of the pairs that do, or do not, share a label, the anchor itself left out; -inf without any."""
    own = torch.arange(len(z), device=z.device)

    def masked(similarity: Tensor, rows: slice, cols: slice) -> Tensor:
        out = (same.tile(rows, cols) != wanted) | (own[rows, None] == own[cols])
        return logit(similarity).masked_fill(out, -torch.inf)

    with torch.no_grad():
        top = torch.cat([masked(z[rows] @ z.T, rows, slice(0, len(z))).amax(1) for rows in blocks(len(z), 512)])
    shift = top.masked_fill(top == -torch.inf, 0.0)
    total = pair_sum(z, z, lambda s, rows, cols: (masked(s, rows, cols) - shift[rows, None]).exp())
    return shift + total.log()


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, value: PairValue, tile: Tile) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.value, ctx.tile = value, tile
        total = x.new_zeros(len(x))
        for rows in blocks(len(x), tile[0]):
            for cols in blocks(len(y), tile[1]):
                total[rows] += value(x[rows] @ y[cols].T, rows, cols).sum(1)
        return total

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, Tensor, None, None]:
        if torch.is_grad_enabled():
            raise InputError("The streaming pair sum can be differentiated once, not twice (create_graph=True).")
        x, y = ctx.saved_tensors
        grad_x, grad_y = torch.zeros_like(x), torch.zeros_like(y)
        for rows in blocks(len(x), ctx.tile[0]):
            for cols in blocks(len(y), ctx.tile[1]):
                logits = (x[rows] @ y[cols].T).requires_grad_()
                with torch.enable_grad():
                    values = ctx.value(logits, rows, cols)
                (slope,) = torch.autograd.grad(values, logits, cotangents[0][rows, None].expand_as(values))
                grad_x[rows].addmm_(slope, y[cols])
                grad_y[cols].addmm_(slope.T, x[rows])
        return grad_x, grad_y, None, None


def _softplus(values: Tensor) -> Tensor:
    """log(1 + e^x) to the last digit: torch's own is linear from 20 on, off by 2e-9."""
    return -F.logsigmoid(-values)
