"""InfoNCE with one positive per anchor and its gradient made in the forward pass: the common case in its cheapest form.

`row_lse` must compute every tile twice, since it cannot know what its result will be used for. Here the use is known,
so a block of rows is exponentiated once and folded into both gradients at once: three products instead of four, and
one exponential instead of two. `tests/graphcl/objectives/test_fused.py` holds it equal to `InfoNCE`.
"""

from math import log
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.finite import finite
from graphcl.objectives.kernel import blocks
from graphcl.objectives.positives import refuse_outside
from graphcl.ops import exp_, full_precision, refuse_second_derivative, through_unit_rows, unit_rows

_ROWS_CPU = 64
"""Rows of a block on the CPU: with 10,000 candidates 2.5 MB, which stays in cache."""
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
    O((n + m) d) memory; it can be differentiated once.

    Raises `InputError` where shapes disagree, a positive is no row of `b`, the temperature is not above 0, or the loss
    not finite.
    """
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1] or not len(a):
        raise InputError(f"paired rows need two tables [n, d] and [m, d], n > 0; got {[*a.shape]} and {[*b.shape]}")
    if positives is None and len(a) != len(b):
        raise InputError(f"tables of {len(a)} and {len(b)} rows are not paired row by row; say which are, by positives")
    if positives is not None:
        if positives.shape != a.shape[:1] or positives.dtype != torch.int64:
            given = f"{[*positives.shape]} of {positives.dtype}"
            raise InputError(f"positives need an int64 row of b for each of {len(a)} anchors, got {given}")
        refuse_outside("candidate", positives, 0, len(b))
    if not temperature > 0:
        raise InputError(f"temperature must be above 0, not {temperature}.")
    with torch.autocast(a.device.type, enabled=False):
        x, y = full_precision(a), full_precision(b)
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
        by_x, by_y = (torch.empty_like(x), torch.zeros_like(y)) if learning else (None, None)
        size = max(1, _CELLS_GPU // len(y)) if x.is_cuda else _ROWS_CPU
        buffer = x.new_empty(min(size, count), len(y))
        for rows in blocks(count, size):
            mass = torch.mm(x[rows], y.T, out=buffer[: len(x[rows])])
            if 1 / temperature <= _SAFE_LOGIT:  # two passes over the block less
                highest = positive.new_zeros(())
            else:  # the positive too must not overflow, although rounding may put it above the highest logit
                highest = torch.maximum(mass.amax(1), positive[rows])
                mass.sub_(highest.unsqueeze(1))
            log_total = exp_(mass).sum(1).log_()
            if epsilon:  # as a logarithm: where all logits are far below 0, e^-highest would overflow
                log_total = torch.logaddexp(log_total, log(epsilon) - highest)
            log_r = positive[rows] - highest - log_total
            r = log_r.exp()
            loss[rows] = -(r + floor).log() if floor else -log_r
            if by_x is not None and by_y is not None:
                # d loss / d s_ij = c_i (e_ij / total_i - [j = p_i]) with c = r / (r + f) / n
                c[rows] = r / (r + floor) / count if floor else 1 / count
                scale = (c[rows] * (-log_total).exp_()).unsqueeze(1)
                torch.mm(mass, y, out=by_x[rows]).mul_(scale)
                by_y.addmm_(mass.T, x[rows] * scale)
        if by_x is not None and by_y is not None:
            by_x.addcmul_(c.unsqueeze(1), own, value=-1)
            pulled = x * c.unsqueeze(1)
            by_y = by_y.sub_(pulled) if positives is None else by_y.index_add_(0, positives, pulled, alpha=-1)
            by_x = through_unit_rows(x.mul_(temperature), x_norm, by_x.div_(temperature))
            by_y = through_unit_rows(y, y_norm, by_y)
        ctx.save_for_backward(by_x, by_y)
        return loss.mean()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("paired_nce")
        (cotangent,) = cotangents
        by_x, by_y = ctx.saved_tensors
        wants_x, wants_y = ctx.needs_input_grad[:2]
        return by_x * cotangent if wants_x else None, by_y * cotangent if wants_y else None, None, None, None, None
