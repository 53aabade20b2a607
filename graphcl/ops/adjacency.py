"""Weights of edges over the degrees of their ends."""

from typing import Literal

import torch
from torch import Tensor

from graphcl.errors import refuse_unknown_word
from graphcl.ops.layout import degree
from graphcl.ops.matrix import SparseMatrix, check_edges
from graphcl.ops.precision import full_precision


def normalize(
    edge_index: Tensor,
    num_nodes: int | tuple[int, int],
    weight: Tensor | None = None,
    *,
    by: Literal["both", "row"] = "both",
) -> Tensor:
    r"""[E] weights of the edges [2, E] (rows, columns) over their degrees; differentiable in `weight`.

    by "both": $w_{ij} / \sqrt{d_i d_j}$ with the sums of rows $d_i$ and of columns $d_j$ (Kipf & Welling, ICLR 2017);
    by "row": $w_{ij} / d_i$. A node whose degree is zero sends and receives nothing: no infinity, no NaN.

    Raises `InputError` for edges that are no integers [2, E] of these nodes, or a weight that is not [E].
    """
    refuse_unknown_word("by", by, ("both", "row"))
    num_rows, num_cols = (num_nodes, num_nodes) if isinstance(num_nodes, int) else num_nodes
    weight = torch.ones(edge_index.shape[-1], device=edge_index.device) if weight is None else weight
    check_edges(edge_index, weight, num_rows, num_cols)
    row, col = edge_index
    if (wide := full_precision(weight)) is not weight:
        return normalize(edge_index, num_nodes, wide, by=by).to(weight.dtype)
    by_row = degree(row, num_rows, weight)
    if by == "row":
        return weight * _power(by_row, -1.0).index_select(0, row)
    by_col = degree(col, num_cols, weight)
    # The bracket makes the values of a symmetric graph symmetric to the last bit.
    return weight * (_power(by_row, -0.5).index_select(0, row) * _power(by_col, -0.5).index_select(0, col))


def _power(degrees: Tensor, exponent: float) -> Tensor:
    """`degrees ** exponent`, zero where the degree is; the inner `where` keeps NaN out of the gradient."""
    positive = degrees > 0
    return torch.where(positive, torch.where(positive, degrees, 1.0) ** exponent, 0.0)


def symmetric_adjacency(edge_index: Tensor, num_nodes: int, weight: Tensor | None = None) -> SparseMatrix:
    r"""$D^{-1/2} A D^{-1/2}$ of an undirected graph given with both directions of each edge."""
    value = normalize(edge_index, num_nodes, weight)
    return SparseMatrix.from_edges(edge_index, value, shape=num_nodes)
