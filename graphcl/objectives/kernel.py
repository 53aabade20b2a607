"""The one kernel under every contrastive objective: a log-sum-exp per row, streamed in tiles.

    L_i = log sum_j exp(x_i . y_j + c_j + B_ij)

Neither the [N, M] matrix of logits nor its gradient ever exists: the forward pass keeps the running maximum and sum of
each row, the backward pass computes each tile again and folds it into the gradients at once. Memory is
O((N + M) d) plus one tile, for a third more arithmetic than the dense form. Where the matrix is small (`KEPT_BYTES`)
its tiles are kept from one pass to the other, which saves that third.

Everything a contrastive loss varies folds into the arguments: a temperature (scalar, per row, per column; learnable)
divides `x` or `y` before the call, a similarity is an inner product after `graphcl.objectives.similarity`, a propensity
weight is `col_bias`, a mask is B = -inf and a pair weight B = log w, both given tile by tile as `PairTerm`s.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from graphcl.errors import InputError, refuse_unknown_word
from graphcl.ops import exp_, full_precision, refuse_second_derivative, without_autocast

Tile = tuple[int, int]
"""Rows and columns computed at a time."""

TILE_CPU: Tile = (512, 1024)
"""Two megabytes in float32: a tile stays in the second-level cache of one core."""
TILE_GPU: Tile = (4096, 8192)
"""128 MiB in float32: few launches, and the products are large enough to fill the chip."""
KEPT_BYTES = 64 * 2**20
"""Exponentials up to this size wait for the backward pass instead of being computed again."""


class PairTerm(Protocol):
    """Adds B_ij to the logits of a tile: -inf removes the pair, log w weighs it."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What B depends on and gradients flow into; empty where B is constant."""
        ...

    def __call__(self, logits: Tensor, rows: slice, cols: slice, *tensors: Tensor) -> Tensor:
        """Return `logits + B[rows, cols]`, `[r, c]`, with B computed from `tensors`; may work in place."""
        ...


def row_lse(
    x: Tensor,
    y: Tensor,
    *,
    col_bias: Tensor | None = None,
    terms: Sequence[PairTerm] = (),
    tile: Tile | str | None = "auto",
) -> Tensor:
    """L_i = log sum_j exp(x_i . y_j + c_j + B_ij) of each row of `x`.

    `x` [N, d] and `y` [M, d] in float64, float32 or half precision; `col_bias` c [M]; `terms` add up to B. Returns [N],
    in float32 where the inputs are of half precision, also under autocast. A row whose terms are all -inf gives
    -inf and no gradient. Gradients reach `x`, `y`, `col_bias` and the tensors of every term.

    `tile` is the number of rows and columns computed at a time; it changes memory and time, not the result. "auto"
    chooses it, and keeps a small matrix for the backward pass; None computes the dense [N, M] matrix by plain
    operations, the only form that can be differentiated twice.

    Raises `InputError` where shapes disagree, on another word for `tile`, and on a second derivative of the streaming
    form.
    """
    if isinstance(tile, str):
        refuse_unknown_word("tile", tile, ("auto",))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise InputError(f"row_lse needs x [N, d] and y [M, d], but got {list(x.shape)} and {list(y.shape)}.")
    if col_bias is not None and col_bias.shape != y.shape[:1]:
        raise InputError(f"col_bias needs one value per row of y, [{len(y)}], but has shape {list(col_bias.shape)}.")
    with torch.autocast(x.device.type, enabled=False):
        x, y = full_precision(x), full_precision(y)
        dtype = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(dtype), y.to(dtype)
        bias = None if col_bias is None else col_bias.to(dtype)
        # Constant terms come first: they work in place, which a tile with a gradient history does not bear.
        terms = sorted(terms, key=lambda term: bool(term.tensors))
        if tile is None:
            return _dense(x, y, bias, tuple(terms))
        learned = [tensor for term in terms for tensor in term.tensors]
        if isinstance(tile, str):
            tile = TILE_GPU if x.is_cuda else TILE_CPU
            if not learned and torch.is_grad_enabled() and 0 < len(x) * len(y) * x.element_size() <= KEPT_BYTES:
                kept: Tensor = _KeptLse.apply(x, y, bias, tuple(terms), tile)
                return kept
        result: Tensor = _RowLse.apply(x, y, bias, tuple(terms), tile, *learned)
        return result


@torch.no_grad()
def row_argmax(x: Tensor, y: Tensor, *, terms: Sequence[PairTerm] = (), tile: Tile | None = None) -> Tensor:
    """The candidate of the largest x_i . y_j + B_ij of each row, int64 [N]; the first one where several tie."""
    x, y = full_precision(x), full_precision(y)
    tile = tile or (TILE_GPU if x.is_cuda else TILE_CPU)
    best = x.new_full((len(x),), -torch.inf)
    where = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    learned = [tensor for term in terms for tensor in term.tensors]
    for rows in blocks(len(x), tile[0]):
        for cols in blocks(len(y), tile[1]):
            value, column = add_terms(x[rows] @ y[cols].T, rows, cols, tuple(terms), learned).max(1)
            better = value > best[rows]
            best[rows] = torch.where(better, value, best[rows])
            where[rows] = torch.where(better, column + cols.start, where[rows])
    return where


def blocks(length: int, size: int) -> Iterator[slice]:
    """Consecutive slices that cover `range(length)`."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def add_terms(
    logits: Tensor, rows: slice, cols: slice, terms: tuple[PairTerm, ...], tensors: Sequence[Tensor]
) -> Tensor:
    """Add every term to a tile; `tensors` are those of all terms, one after the other."""
    first = 0
    for term in terms:
        last = first + len(term.tensors)
        logits = term(logits, rows, cols, *tensors[first:last])
        first = last
    return logits


def _dense(x: Tensor, y: Tensor, bias: Tensor | None, terms: tuple[PairTerm, ...]) -> Tensor:
    logits = x @ y.T if bias is None else x @ y.T + bias
    if terms:
        learned = [tensor for term in terms for tensor in term.tensors]
        weight = add_terms(torch.zeros_like(logits), slice(0, len(x)), slice(0, len(y)), terms, learned)
        logits = logits + weight
    empty = torch.isneginf(logits).all(1)
    # A row of -inf has NaN gradients in logsumexp; it takes part as zeros and is emptied again afterwards.
    return logits.masked_fill(empty[:, None], 0.0).logsumexp(1).masked_fill(empty, -torch.inf)


class _RowLse(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor,
        bias: Tensor | None,
        terms: tuple[PairTerm, ...],
        tile: Tile,
        *learned: Tensor,
    ) -> Tensor:
        lse = x.new_full((len(x),), -torch.inf)
        buffer = _tile_buffer(x, y, tile)
        for rows in blocks(len(x), tile[0]):
            highest = lse[rows].clone()
            total = torch.zeros_like(highest)
            for cols in blocks(len(y), tile[1]):
                logits = _logits(x[rows], y[cols], None if bias is None else bias[cols], buffer)
                logits = add_terms(logits, rows, cols, terms, learned)
                raised = torch.maximum(highest, logits.amax(1))
                shift = raised.masked_fill(torch.isneginf(raised), 0.0)  # -inf minus -inf would be NaN
                total.mul_((highest - shift).exp_()).add_(exp_(logits.sub_(shift[:, None])).sum(1))
                highest = raised
            lse[rows] = highest + total.log()
        ctx.save_for_backward(x, y, bias, lse, *learned)
        ctx.terms, ctx.tile = terms, tile
        return lse

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("the streaming log-sum-exp")
        (cotangent,) = cotangents
        x, y, bias, lse, *learned = ctx.saved_tensors
        wants_x, wants_y, wants_bias, _, _, *wants_learned = ctx.needs_input_grad
        shift = lse.masked_fill(torch.isneginf(lse), 0.0)
        buffer = _tile_buffer(x, y, ctx.tile)
        x_weighted = x * cotangent[:, None]
        grad_x = torch.zeros_like(x) if wants_x else None
        grad_y = torch.zeros_like(y) if wants_y else None
        grad_bias = torch.zeros_like(bias) if wants_bias else None
        leaves = [t.detach().requires_grad_(wanted) for t, wanted in zip(learned, wants_learned, strict=True)]
        wanted_leaves = [leaf for leaf in leaves if leaf.requires_grad]
        grad_learned = [torch.zeros_like(leaf) for leaf in wanted_leaves]

        for rows in blocks(len(x), ctx.tile[0]):
            for cols in blocks(len(y), ctx.tile[1]):
                logits = _logits(x[rows], y[cols], None if bias is None else bias[cols], buffer)
                with torch.set_grad_enabled(bool(wanted_leaves)):
                    weighed = add_terms(logits, rows, cols, ctx.terms, leaves)
                share = exp_(weighed.detach().sub_(shift[rows, None]))  # p_ij, which sums to 1 over j
                if grad_x is not None:
                    grad_x[rows].addmm_(share, y[cols])
                if grad_y is not None:
                    grad_y[cols].addmm_(share.T, x_weighted[rows])
                if grad_bias is not None:
                    grad_bias[cols].addmv_(share.T, cotangent[rows])
                if wanted_leaves:
                    _accumulate(grad_learned, weighed, wanted_leaves, share.mul_(cotangent[rows, None]))

        if grad_x is not None:
            grad_x.mul_(cotangent[:, None])
        found = iter(grad_learned)
        return (
            grad_x,
            grad_y,
            grad_bias,
            None,
            None,
            *(next(found) if leaf.requires_grad else None for leaf in leaves),
        )


class _KeptLse(torch.autograd.Function):
    """The same with constant terms, for a matrix that is small enough to keep: each tile with a shift of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, bias: Tensor | None, terms: tuple[PairTerm, ...], tile: Tile) -> Tensor:
        lse = x.new_empty(len(x))
        masses, shifts = [], []
        for rows in blocks(len(x), tile[0]):
            parts = []
            for cols in blocks(len(y), tile[1]):
                empty = x.new_empty(len(x[rows]) * len(y[cols]))
                logits = _logits(x[rows], y[cols], None if bias is None else bias[cols], empty)
                mass, shift = shifted_exp_(add_terms(logits, rows, cols, terms, ()))
                masses.append(mass)
                shifts.append(shift)
                parts.append(shift + mass.sum(1).log_())
            lse[rows] = torch.stack(parts).logsumexp(0)
        ctx.save_for_backward(x, y, lse, *masses, *shifts)
        ctx.tile = tile
        return lse

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("the streaming log-sum-exp")
        x, y, lse, *kept = ctx.saved_tensors
        wants_x, wants_y, wants_bias, *_ = ctx.needs_input_grad
        cotangent = cotangents[0].masked_fill(torch.isneginf(lse), 0.0)
        lse = lse.masked_fill(torch.isneginf(lse), 0.0)
        grad_x = torch.zeros_like(x) if wants_x else None
        grad_y = y.new_zeros(y.shape[1], len(y)) if wants_y else None  # in columns: the faster product
        grad_bias = y.new_zeros(len(y)) if wants_bias else None
        tiles = iter(zip(kept[: len(kept) // 2], kept[len(kept) // 2 :], strict=True))
        for rows in blocks(len(x), ctx.tile[0]):
            for cols in blocks(len(y), ctx.tile[1]):
                mass, shift = next(tiles)
                # No tile is above its row's sum; one without a candidate for the row only seems so, and has no mass.
                weight = cotangent[rows] * (shift - lse[rows]).clamp_(max=0.0).exp_()
                if grad_x is not None:
                    grad_x[rows].addcmul_(mass @ y[cols], weight[:, None])
                if grad_y is not None:
                    grad_y[:, cols].addmm_((x[rows] * weight[:, None]).T, mass)
                if grad_bias is not None:
                    grad_bias[cols].addmv_(mass.T, weight)
        return grad_x, None if grad_y is None else grad_y.T, grad_bias, None, None


def shifted_exp_(logits: Tensor) -> tuple[Tensor, Tensor]:
    """e^(a_ij - h_i) in place, and the highest h [r] of each row of a tile; 0 for a row that is all -inf."""
    shift = logits.amax(1)
    shift.masked_fill_(torch.isneginf(shift), 0.0)  # -inf minus -inf would be NaN
    return exp_(logits.sub_(shift[:, None])), shift


def _accumulate(totals: list[Tensor], values: Tensor, leaves: list[Tensor], cotangent: Tensor) -> None:
    parts = torch.autograd.grad(values, leaves, cotangent, allow_unused=True)
    for total, part in zip(totals, parts, strict=True):
        if part is not None:
            total.add_(part)


def _tile_buffer(x: Tensor, y: Tensor, tile: Tile) -> Tensor:
    return x.new_empty(min(tile[0], len(x)) * min(tile[1], len(y)))


def _logits(x: Tensor, y: Tensor, bias: Tensor | None, buffer: Tensor) -> Tensor:
    out = buffer[: len(x) * len(y)].view(len(x), len(y))
    if bias is None:
        return torch.mm(x, y.T, out=out)
    return torch.addmm(bias, x, y.T, out=out)
