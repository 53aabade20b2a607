"""InfoNCE with one positive per anchor and its gradient made in the forward pass: the common case in its cheapest form.

`row_lse` must compute every tile twice, since it cannot know what its result will be used for. Here the use is known,
so a block of rows is exponentiated once and folded into both gradients at once: three products instead of four, and
one exponential instead of two. On a CPU a block is made of tiles that fit its caches, each with a shift of its own.
`tests/graphcl/objectives/test_fused.py` holds it equal to `InfoNCE`.
"""

from math import log
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.finite import finite
from graphcl.objectives.kernel import Tile, blocks, shifted_exp_
from graphcl.objectives.positives import refuse_outside
from graphcl.objectives.tables import refuse_temperature, tables
from graphcl.ops import exp_, refuse_second_derivative, through_unit_rows, unit_rows, without_autocast

_TILE_CPU: Tile = (256, 2048)
"""Rows and columns of a tile on the CPU: two MiB in float32, which stay in the second- or third-level cache."""
_CELLS_CPU = 1 << 24
"""Cells of a block on the CPU, 64 MiB in float32: with more candidates a block has fewer rows."""
_SAFE_LOGIT = 40
"""Logits up to this need no shift: e^40 times any number of candidates is far from the end of float32."""
_CELLS_GPU = 1 << 26
"""Cells of a block on a GPU, 256 MiB in float32."""


def paired_nce(
    a: Tensor,
    b: Tensor,
    temperature: float,
    *,
    positives: Tensor | None = None,
    epsilon: float = 0.0,
    probability_floor: float = 0.0,
) -> Tensor:
    r"""Mean over rows of $-\log(r_i + f)$, $r_i = e^{s_{ip}} / (\sum_j e^{s_{ij}} + \epsilon)$, $s$ = cosine / $t$.

    a [n, d]: the anchors. b [m, d]: the candidates. positives: the row p of `b` that is the positive of each anchor,
    int64 [n]; without it row i of one is the positive of row i of the other, and the tables are of one shape.
    The same as `InfoNCE(temperature, denominator=All(epsilon), probability_floor=f)(a, b, positives=positives)`, in
    O((n + m) d) memory; it can be differentiated once, and not in the temperature, a number.

    Raises `InputError` where shapes disagree, a positive is no row of `b`, the temperature is not above 0 or learned,
    epsilon or floor negative, or the loss not finite.
    """
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1] or not len(a):
        raise InputError(f"paired rows need two tables [n, d] and [m, d], n > 0; got {[*a.shape]} and {[*b.shape]}")
    x, y = tables(a, b)
    if positives is None and len(a) != len(b):
        raise InputError(f"tables of {len(a)} and {len(b)} rows are not paired row by row; say which are, by positives")
    if positives is not None:
        if positives.shape != a.shape[:1] or positives.dtype != torch.int64:
            given = f"{[*positives.shape]} of {positives.dtype}"
            raise InputError(f"positives need an int64 row of b for each of {len(a)} anchors, got {given}")
        refuse_outside("candidate", positives, 0, len(b))
    refuse_temperature(temperature)
    if isinstance(temperature, Tensor):
        if temperature.requires_grad:
            raise InputError("paired_nce takes a temperature that is not learned; InfoNCE takes one that is.")
        temperature = float(temperature)
    if not (epsilon >= 0 and probability_floor >= 0):
        raise InputError(f"epsilon and probability_floor must not be negative, got {epsilon} and {probability_floor}.")
    if not torch.is_grad_enabled():  # a `Function` is not told, and would make the gradients
        x, y = x.detach(), y.detach()
    with torch.autocast(a.device.type, enabled=False):
        result: Tensor = _PairedNCE.apply(x, y, positives, temperature, epsilon, probability_floor)
    return finite(result, the_first_view=a, the_second_view=b)


class _PairedNCE(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, positives: Tensor | None, temperature: float, epsilon: float, floor: float
    ) -> Tensor:
        (x, x_norm), (y, y_norm) = unit_rows(a.detach()), unit_rows(b.detach())
        x.div_(temperature)
        count = len(x)
        learning = any(ctx.needs_input_grad)
        own = y if positives is None else y.index_select(0, positives)
        positive = (x * own).sum(1)
        loss, c = torch.empty_like(positive), torch.empty_like(positive)
        # The gradient of `y` is gathered in columns: MKL makes that product half as fast again.
        by_x, by_y = (torch.zeros_like(x), y.new_zeros(y.shape[1], len(y))) if learning else (None, None)
        height, width = _tile_of(x, y)
        height = min(height, count)
        columns = [*blocks(len(y), width)]
        buffer = x.new_empty(height * len(y))
        for rows in blocks(count, height):
            tiles = [_exponentials(x[rows], y[cols], buffer, cols.start * height, temperature) for cols in columns]
            shifts = torch.stack([shift for _, shift in tiles])
            highest = shifts.amax(0)
            shares = shifts.sub_(highest).exp_()  # what a tile's exponentials count beside those of the highest tile
            totals = torch.stack([mass.sum(1) for mass, _ in tiles])
            log_total = (totals * shares).sum(0).log_()
            if epsilon:  # as a logarithm: where all logits are far below 0, e^-highest would overflow
                log_total = torch.logaddexp(log_total, log(epsilon) - highest)
            log_r = positive[rows] - highest - log_total
            r = log_r.exp()
            loss[rows] = -(r + floor).log() if floor else -log_r
            if by_x is not None and by_y is not None:
                # d loss / d s_ij = c_i (e_ij / total_i - [j = p_i]) with c = r / (r + f) / n
                c[rows] = r / (r + floor) / count if floor else 1 / count
                weights = shares * (c[rows] * (-log_total).exp_())
                for cols, (mass, _), weight in zip(columns, tiles, weights.unsqueeze(2), strict=True):
                    by_x[rows].addcmul_(mass @ y[cols], weight)
                    by_y[:, cols].addmm_((x[rows] * weight).T, mass)
        if by_x is not None and by_y is not None:
            by_x.addcmul_(c.unsqueeze(1), own, value=-1)
            pulled = x * c.unsqueeze(1)
            by_y = by_y.T.contiguous()
            by_y = by_y.sub_(pulled) if positives is None else by_y.index_add_(0, positives, pulled, alpha=-1)
            by_x = through_unit_rows(x.mul_(temperature), x_norm, by_x.div_(temperature))
            by_y = through_unit_rows(y, y_norm, by_y)
        ctx.save_for_backward(by_x, by_y)
        return loss.mean()

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("paired_nce")
        (cotangent,) = cotangents
        by_x, by_y = ctx.saved_tensors
        wants_x, wants_y = ctx.needs_input_grad[:2]
        return by_x * cotangent if wants_x else None, by_y * cotangent if wants_y else None, None, None, None, None


def _tile_of(x: Tensor, y: Tensor) -> Tile:
    if x.is_cuda:  # few launches count there, and a block is one tile
        return max(1, _CELLS_GPU // len(y)), len(y)
    return max(1, min(_TILE_CPU[0], _CELLS_CPU // len(y))), _TILE_CPU[1]


def _exponentials(x: Tensor, y: Tensor, buffer: Tensor, start: int, temperature: float) -> tuple[Tensor, Tensor]:
    """e^(s_ij - h_i) of a tile, which lies in `buffer`, and the shift h [r] of its rows."""
    mass = torch.mm(x, y.T, out=buffer[start : start + len(x) * len(y)].view(len(x), len(y)))
    if 1 / temperature <= _SAFE_LOGIT:  # two passes over the tile less
        return exp_(mass), x.new_zeros(len(x))
    return shifted_exp_(mass)
