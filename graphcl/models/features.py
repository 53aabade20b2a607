"""The first layer of a heterogeneous encoder: each node type's features into one common space."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphcl.models.blocks import sparse_matrix, take_rows
from graphcl.ops import SparseMatrix, spmm


class Features(nn.Module):
    """A constant feature table [N, F]: dense, sparse, or the identity where a type has none (then F = N)."""

    def __init__(self, table: sp.csr_matrix | np.ndarray | None, num_nodes: int) -> None:
        super().__init__()
        self.num_nodes = num_nodes
        self.size = num_nodes if table is None else table.shape[1]
        sparse = sparse_matrix(table) if sp.issparse(table) else None
        dense = torch.from_numpy(table).to(torch.get_default_dtype()) if isinstance(table, np.ndarray) else None
        self.sparse: SparseMatrix | None = sparse
        self.dense: Tensor | None
        self.register_buffer("dense", dense, persistent=False)

    def times(self, weight: Tensor, node: Tensor | None = None) -> Tensor:
        """Rows `node` [S] (all if None) times `weight` [F, d]: [S, d]. The identity is never built: its rows are W."""
        if self.sparse is not None:
            if node is None:
                return spmm(self.sparse, weight)
            rows, column = take_rows(self.sparse, node)
            return spmm(rows, weight[column])
        if self.dense is not None:
            return (self.dense if node is None else self.dense[node]) @ weight
        return weight if node is None else F.embedding(node, weight)

    def through(self, linear: nn.Linear, node: Tensor | None = None) -> Tensor:
        """`linear` of the rows of `node` [S] (all if None): [S, d]."""
        return self.times(linear.weight.T, node) + linear.bias


def masked_features(table: Any, rate: float, generator: np.random.Generator) -> Any:
    """A copy of a feature table whose non-zero entries are set to 0 with a share of `rate`; rows are not rescaled."""
    if table is None or rate == 0:
        return table
    masked = table.copy()
    entries = masked.data if sp.issparse(masked) else masked.reshape(-1)
    present = np.flatnonzero(entries)
    entries[generator.choice(present, int(present.size * rate), replace=False)] = 0
    if sp.issparse(masked):
        masked.eliminate_zeros()
    return masked
