"""Sparse times dense, and its adjoint along the entries.

The kernels were chosen by measurement (`benchmarks/speed_ops.py`): `embedding_bag` over CSR for float32 on the CPU, CSR
products elsewhere, `sampled_addmm` for the gradient of values. Autograd never differentiates a sparse tensor: that
allocates N x N.
"""

import warnings
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.errors import InputError
from graphcl.ops.gradients import without_autocast
from graphcl.ops.matrix import SparseMatrix
from graphcl.ops.precision import full_precision


def spmm(matrix: SparseMatrix, x: Tensor, value: Tensor | None = None, *, transpose: bool = False) -> Tensor:
    """Sparse times dense: [R, C] x [C, d] -> [R, d]; `out[i] = sum_j value[i, j] x[j]`.

    value: [E] instead of the matrix's own, in its order; gradients reach it (or the matrix's own, where these want any)
    and `x`, to any order.
    transpose: multiply by the transposed matrix instead, [R, d] -> [C, d].

    Half precision is computed in float32 and rounded once; the result has the type of `x`, whatever that of `value`.
    """
    width = matrix.num_rows if transpose else matrix.num_cols
    if x.dim() != 2 or x.size(0) != width:
        raise InputError(f"spmm: a {matrix.extra_repr()} matrix cannot multiply a tensor of shape {tuple(x.shape)}")
    if value is not None and value.shape != matrix.col.shape:
        raise InputError(f"spmm: {matrix.num_edges} entries came with values of shape {tuple(value.shape)}")
    if value is None and matrix.value.requires_grad:
        value = matrix.value
    wide = full_precision(x)
    with torch.autocast(x.device.type, enabled=False):
        result: Tensor = _Product.apply(matrix, wide, None if value is None else value.to(wide.dtype), transpose)
    return result.to(x.dtype)


def edge_dot(matrix: SparseMatrix, a: Tensor, b: Tensor) -> Tensor:
    """Inner products along the entries: `out[e] = a[row(e)] . b[col(e)]`, [R, d], [C, d] -> [E]; nothing [E, d]."""
    if (len(a), len(b)) != matrix.shape or a.shape[1:] != b.shape[1:]:
        raise InputError(
            f"edge_dot: a {matrix.extra_repr()} matrix needs tables of {matrix.num_rows} and {matrix.num_cols} rows of "
            f"one length, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    dtype = torch.promote_types(a.dtype, b.dtype)
    with torch.autocast(a.device.type, enabled=False):
        result: Tensor = _EdgeDot.apply(matrix, full_precision(a.to(dtype)), full_precision(b.to(dtype)))
    return result.to(dtype)


class _Product(torch.autograd.Function):
    """`spmm`; its backward is made of `spmm` and `edge_dot`, which makes derivatives of any order."""

    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, x: Tensor, value: Tensor | None, transpose: bool) -> Tensor:
        ctx.matrix, ctx.transpose = matrix, transpose
        ctx.save_for_backward(x, value)
        if value is None:
            weight = (matrix.value_t if transpose else matrix.value).to(x.dtype)
        else:
            weight = value.detach().index_select(0, matrix.permutation) if transpose else value.detach()
        crow, col, num_cols = matrix.pattern(transpose)
        return _multiply(crow, col, weight, x.detach().contiguous(), num_cols)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        x, value = ctx.saved_tensors
        by_x = by_value = None
        if ctx.needs_input_grad[1]:
            by_x = _Product.apply(ctx.matrix, gradient, value, not ctx.transpose)
        if ctx.needs_input_grad[2]:
            pair = (x, gradient) if ctx.transpose else (gradient, x)
            by_value = _EdgeDot.apply(ctx.matrix, *pair)
        return None, by_x, by_value, None


class _EdgeDot(torch.autograd.Function):
    """`edge_dot`."""

    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, a: Tensor, b: Tensor) -> Tensor:
        ctx.matrix = matrix
        ctx.save_for_backward(a, b)
        return _sampled_product(matrix, a.detach().contiguous(), b.detach().contiguous())

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        a, b = ctx.saved_tensors
        by_a = _Product.apply(ctx.matrix, b, gradient, False) if ctx.needs_input_grad[1] else None
        by_b = _Product.apply(ctx.matrix, a, gradient, True) if ctx.needs_input_grad[2] else None
        return None, by_a, by_b


def _multiply(crow: Tensor, col: Tensor, value: Tensor, x: Tensor, num_cols: int) -> Tensor:
    """The kernel. `embedding_bag` is 3-19 times faster than any other in float32 on the CPU, and slow in float64."""
    if not col.numel() or not x.numel():
        return x.new_zeros(crow.numel() - 1, x.size(1))
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return F.embedding_bag(
            col, x, crow, mode="sum", per_sample_weights=value.contiguous(), include_last_offset=True
        )
    return _csr(crow, col, value, num_cols) @ x


def _sampled_product(matrix: SparseMatrix, a: Tensor, b: Tensor) -> Tensor:
    if not matrix.num_edges:
        return a.new_zeros(0)
    if matrix.num_edges > matrix.num_rows * matrix.num_cols:  # torch refuses; only repeated entries come here
        return (a.index_select(0, matrix.row) * b.index_select(0, matrix.col)).sum(1)
    zeros = _csr(matrix.crow, matrix.col, a.new_zeros(matrix.num_edges), matrix.num_cols)
    return torch.sparse.sampled_addmm(zeros, a, b.T, beta=0.0).values()


def _csr(crow: Tensor, col: Tensor, value: Tensor, num_cols: int) -> Tensor:
    _silence_beta_warnings()
    return torch.sparse_csr_tensor(crow, col, value, (crow.numel() - 1, num_cols), check_invariants=False)


@cache
def _silence_beta_warnings() -> None:
    """Torch warns once in a process that CSR is young; let that once be here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        offsets = torch.tensor([0, 1])
        torch.sparse_csr_tensor(offsets, offsets[:1], torch.ones(1), (1, 1))
