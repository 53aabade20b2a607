"""InfoNCE of paired rows with its gradient made in the forward pass: the cheapest form of the most common case.

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
from graphcl.ops import exp_, full_precision, refuse_second_derivative, through_unit_rows, unit_rows

_ROWS_CPU = 64
"""Rows of a block on the CPU: with 10,000 candidates 2.5 MB, which stays in cache."""
_SAFE_LOGIT = 40
"""Logits up to this need no shift: e^40 times any number of candidates is far from the end of float32."""
_CELLS_GPU = 1 << 26
"""Cells of a block on a GPU, 256 MiB in float32."""


def paired_nce(
    a: Tensor, b: Tensor, temperature: float, *, epsilon: float = 0.0, probability_floor: float = 0.0
) -> Tensor:
    r"""Mean over rows of $-\log(r_i + f)$, $r_i = e^{s_{ii}} / (\sum_j e^{s_{ij}} + \epsilon)$, $s$ = cosine / $t$.

    a, b: [n, d], row i of one is the positive of row i of the other; anchors are in `a`, all rows of `b` candidates.
    The same as `InfoNCE(temperature, denominator=All(epsilon), probability_floor=f)(a, b)`, in O(n d) memory; it can
    be differentiated once.

    Raises `InputError` where the tables are not of one shape, the temperature is not above 0, or the loss not finite.
    """
    if a.shape != b.shape or a.dim() != 2 or not len(a):
        raise InputError(f"paired rows need two tables of one shape [n, d], n > 0; got {[*a.shape]} and {[*b.shape]}")
    if not temperature > 0:
        raise InputError(f"temperature must be above 0, not {temperature}.")
    with torch.autocast(a.device.type, enabled=False):
        result: Tensor = _PairedNCE.apply(full_precision(a), full_precision(b), temperature, epsilon, probability_floor)
    return finite(result, the_first_view=a, the_second_view=b)


class _PairedNCE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, temperature: float, epsilon: float, floor: float) -> Tensor:
        (x, x_norm), (y, y_norm) = unit_rows(a.detach()), unit_rows(b.detach())
        x.div_(temperature)
        count = len(x)
        learning = any(ctx.needs_input_grad)
        positive = (x * y).sum(1)
        loss = torch.empty_like(positive)
        by_x, by_y = (torch.empty_like(x), torch.zeros_like(y)) if learning else (None, None)
        size = max(1, _CELLS_GPU // count) if x.is_cuda else _ROWS_CPU
        buffer = x.new_empty(min(size, count), count)
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
                # d loss / d s_ij = c_i (e_ij / total_i - [i = j]) with c = r / (r + f) / n
                c = r / (r + floor) / count if floor else torch.full_like(r, 1 / count)
                scale = (c * (-log_total).exp_()).unsqueeze(1)
                torch.mm(mass, y, out=by_x[rows]).mul_(scale).addcmul_(c.unsqueeze(1), y[rows], value=-1)
                by_y.addmm_(mass.T, x[rows] * scale)
                by_y[rows].addcmul_(c.unsqueeze(1), x[rows], value=-1)
        if by_x is not None and by_y is not None:
            by_x = through_unit_rows(x.mul_(temperature), x_norm, by_x.div_(temperature))
            by_y = through_unit_rows(y, y_norm, by_y)
        ctx.save_for_backward(by_x, by_y)
        return loss.mean()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        refuse_second_derivative("paired_nce")
        (cotangent,) = cotangents
        by_x, by_y = ctx.saved_tensors
        wants_x, wants_y = ctx.needs_input_grad[:2]
        return by_x * cotangent if wants_x else None, by_y * cotangent if wants_y else None, None, None, None
