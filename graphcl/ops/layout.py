"""Entries in compressed rows: row offsets and columns, and the way there from a list of edges."""

import torch
from torch import Tensor

from graphcl.ops.precision import full_precision


def degree(
    index: Tensor, num_nodes: int, weight: Tensor | None = None, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """[num_nodes] how often each node occurs in `index` [E], or the sum of its weights [E]."""
    if weight is None:
        return torch.bincount(index, minlength=num_nodes).to(dtype)
    wide = full_precision(weight)
    return wide.new_zeros(num_nodes).index_add_(0, index, wide).to(weight.dtype)


def sorted_csr(edge_index: Tensor, num_rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Row offsets [R + 1] and columns [E] of edges [2, E] in any order, and the order [E] that sorts them."""
    row, col = edge_index
    # Two stable sorts, last key first: a single key row * C + column would overflow int32.
    order = torch.argsort(col, stable=True)
    order = order[torch.argsort(row[order], stable=True)]
    return offsets(degree(row, num_rows, dtype=row.dtype)), col[order], order


def rows_of(crow: Tensor, num_edges: int) -> Tensor:
    """[E] the segment of each entry, in the dtype of `crow`."""
    numbers = torch.arange(crow.numel() - 1, device=crow.device, dtype=crow.dtype)
    return torch.repeat_interleave(numbers, crow.diff(), output_size=num_edges)


def offsets(counts: Tensor) -> Tensor:
    """[R + 1] where each of R segments begins, from how long each is."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0, dtype=counts.dtype)])
