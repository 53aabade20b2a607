"""Rows of sparse matrices, whole or sampled: what a batch of nodes needs of a graph."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from graphcl.ops import SparseMatrix


class Block(NamedTuple):
    """Two layers of message passing towards some nodes: `outer @ (inner @ h)`."""

    inner: SparseMatrix
    """[S1, S0]"""
    outer: SparseMatrix
    """[S, S1]"""


def whole(graph: SparseMatrix) -> Block:
    """Both layers on the whole graph [N, N]."""
    return Block(graph, graph)


def sampled(graph: SparseMatrix, node: Tensor, fan_out: int, generator: torch.Generator) -> tuple[Block, Tensor]:
    """Two layers towards `node` [S], and the nodes [S0] whose inputs they need.

    Each receiver hears at most `fan_out` senders, drawn anew for each layer.
    """
    outer, senders = take_rows(graph, node, fan_out, generator)
    inner, sources = take_rows(graph, senders, fan_out, generator)
    return Block(inner, outer), sources


def take_rows(
    matrix: SparseMatrix, row: Tensor, limit: int | None = None, generator: torch.Generator | None = None
) -> tuple[SparseMatrix, Tensor]:
    """Some rows [S] of a matrix [R, C], and the columns [C'] that are left in them: [S, C'], [C'].

    Of rows with more than `limit` entries a random `limit` is kept, scaled up so that the expected sum is the same.
    """
    start, length = matrix.crow[row].long(), matrix.crow.diff()[row].long()
    kept = length if limit is None else length.clamp(max=limit)
    crow = torch.cat([kept.new_zeros(1), kept.cumsum(0)])
    within = torch.arange(int(crow[-1]), device=row.device) - torch.repeat_interleave(crow[:-1], kept)
    span = torch.repeat_interleave(length, kept)
    if limit is not None:
        # A random start and an odd walk through the row: distinct entries without sorting random numbers.
        offset = torch.rand(len(row), generator=generator, device=row.device)
        crowded = torch.repeat_interleave(length > limit, kept)
        first = (torch.repeat_interleave(offset, kept) * span).long()
        within = torch.where(crowded, (first + within * (span // limit).clamp(min=1)) % span, within)
    entry = torch.repeat_interleave(start, kept) + within
    column, local = matrix.col[entry].long().unique(return_inverse=True)
    value = matrix.value[entry] * (span / torch.repeat_interleave(kept, kept)).to(matrix.value)
    return SparseMatrix(crow, local, value, len(column)), column


def sparse_matrix(matrix: csr_matrix) -> SparseMatrix:
    """A scipy matrix in the form that `spmm` takes, in torch's default type, as parameters are."""
    matrix.sort_indices()
    small = max(matrix.nnz, *matrix.shape) < np.iinfo(np.int32).max
    index = np.int32 if small else np.int64
    crow, col = (torch.from_numpy(part.astype(index)) for part in (matrix.indptr, matrix.indices))
    return SparseMatrix(crow, col, torch.from_numpy(matrix.data).to(torch.get_default_dtype()), matrix.shape[1])
