"""Learnable masks of interactions: weights of edges that gradients flow through.

`cosine_mask` and `adaptive_mask` weigh the entries of a `SparseMatrix` in its order, as `spmm` takes weights. DCCF's
also comes fused with the propagation that it weighs, `cosine_propagation`, which stores nothing of size [E, d].
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.errors import InputError
from graphcl.ops import (
    SparseMatrix,
    edge_dot,
    full_precision,
    refuse_second_derivative,
    segment_reduce,
    spmm,
    through_unit_rows,
    unit_rows,
    without_autocast,
)


def cosine_mask(matrix: SparseMatrix, h: Tensor) -> Tensor:
    r"""$(1 + \cos(h_i, h_j)) / 2$ for every entry of `matrix`: [N, d] -> [E] (DCCF, eq. 8; Ren et al., SIGIR 2023).

    Norms are kept above 1e-12, so that a zero row has the weight 1/2.
    """
    unit = F.normalize(full_precision(h), dim=1)  # the bound on the norm is 0 in float16
    return ((1 + edge_dot(matrix, unit, unit)) / 2).to(h.dtype)


def adaptive_mask(matrix: SparseMatrix, h: Tensor) -> Tensor:
    """`cosine_mask` with every row divided by its sum (a row without weight stays zero): [N, d] -> [E]."""
    weight = cosine_mask(matrix, full_precision(h))
    return (weight * _reciprocal(segment_reduce(weight, matrix.crow)).index_select(0, matrix.row)).to(h.dtype)


def cosine_propagation(matrix: SparseMatrix, h: Tensor, x: Tensor) -> Tensor:
    r"""$\sum_j w_{ij} x_j / \sum_j w_{ij}$ with $w$ the cosine mask of `h`: [N, d], [N, e] -> [N, e].

    Equal to `spmm(matrix, x, adaptive_mask(matrix, h))`, in half its passes over the edges: the mask is symmetric, so
    that neither its transpose nor a gradient of single directions is needed. `matrix` gives the pattern, which must be
    symmetric. Gradients reach `h` and `x`, once.
    """
    if not matrix.has_symmetric_pattern:
        raise InputError("cosine_propagation: the graph must hold both directions of every edge")
    wide = full_precision(x)
    result: Tensor = _CosinePropagation.apply(matrix, h.to(wide.dtype), wide)
    return result.to(x.dtype)


class _CosinePropagation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, h: Tensor, x: Tensor) -> Tensor:
        h, x = h.detach(), x.detach()
        unit, _ = unit_rows(h)
        weight = edge_dot(matrix, unit, unit).add_(1).mul_(0.5)
        share = _reciprocal(segment_reduce(weight, matrix.crow)).unsqueeze(1)
        out = spmm(matrix, x, weight).mul_(share)
        ctx.matrix = matrix
        ctx.save_for_backward(h, x, weight, share, out)
        return out

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        refuse_second_derivative("cosine_propagation")
        h, x, weight, share, out = ctx.saved_tensors
        scaled = gradients[0] * share
        by_h = by_x = None
        if ctx.needs_input_grad[2]:
            by_x = spmm(ctx.matrix, scaled, weight)
        if ctx.needs_input_grad[1]:
            # Both directions of an edge: (g'_i . x_j + g'_j . x_i - q_i - q_j) / 2 with q = g' . out.
            both = edge_dot(ctx.matrix, scaled, x)
            both = both.add_(both.index_select(0, ctx.matrix.permutation))
            q = (scaled * out).sum(1)
            both.sub_(q.index_select(0, ctx.matrix.row)).sub_(q.index_select(0, ctx.matrix.col)).mul_(0.5)
            unit, norm = unit_rows(h)
            by_h = through_unit_rows(unit, norm, spmm(ctx.matrix, unit, both))
        return None, by_h, by_x


def _reciprocal(total: Tensor) -> Tensor:
    """1 / total, and 0 where nothing was summed."""
    return torch.where(total > 0, 1 / torch.where(total > 0, total, 1.0), 0.0)
