"""The low-rank view of a graph: what its largest singular vectors say (LightGCL; Cai et al., ICLR 2023)."""

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graphcl.errors import InputError
from graphcl.ops import SparseMatrix, spmm, symmetric_adjacency
from graphcl.views.random import RandomView, check_graph
from graphcl.views.structure import edge_weight_of, set_edges

_OVERSAMPLING = 8
"""Directions beyond the rank that the subspace carries (Halko et al., SIAM Review 2011, section 4.2)."""
_ROWS = 1024
"""Rows of a low-rank graph that are written out at a time."""


@torch.no_grad()
def randomized_svd(
    matrix: SparseMatrix, rank: int, *, generator: torch.Generator, n_iter: int = 4
) -> tuple[Tensor, Tensor, Tensor]:
    """The `rank` largest singular triples (U [R, q], S [q], V [C, q]) by subspace iteration on a random start.

    Drawn where the generator lives. Exact up to the gap between singular values q and q + 8, raised to the
    power `2 n_iter + 1`.
    """
    if not 1 <= rank <= min(matrix.shape):
        raise InputError(f"rank: a {matrix.num_rows} x {matrix.num_cols} matrix has no {rank} singular vectors")
    width = min(rank + _OVERSAMPLING, *matrix.shape)
    value = matrix.value
    start = torch.randn(matrix.num_cols, width, generator=generator, device=generator.device, dtype=value.dtype)
    left = torch.linalg.qr(spmm(matrix, start.to(value.device))).Q
    for _ in range(n_iter):
        right = torch.linalg.qr(spmm(matrix, left, transpose=True)).Q
        left = torch.linalg.qr(spmm(matrix, right)).Q
    small = spmm(matrix, left, transpose=True)
    v, s, u = torch.linalg.svd(small, full_matrices=False)
    return left @ u[:rank].T, s[:rank], v[:, :rank]


class LowRank(nn.Module):
    r"""$U_q \Sigma_q V_q^\top$ in place of a matrix: every row hears of every column, through `rank` channels."""

    left: Tensor
    """[R, q] the left vectors, times the singular values."""
    right: Tensor
    """[C, q] the right vectors."""

    def __init__(self, matrix: SparseMatrix, rank: int, *, generator: torch.Generator) -> None:
        super().__init__()
        u, s, v = randomized_svd(matrix, rank, generator=generator)
        self.register_buffer("left", u * s, persistent=False)
        self.register_buffer("right", v, persistent=False)

    def forward(self, x: Tensor, *, transpose: bool = False) -> Tensor:
        """[C, d] -> [R, d], or with the transposed matrix [R, d] -> [C, d]."""
        if transpose:
            return self.right @ (self.left.T @ x)
        return self.left @ (self.right.T @ x)


class LowRankEdges(RandomView):
    """The likeliest edges of a low-rank graph: every node keeps as many neighbours as it had, the strongest.

    The graph is undirected; an edge that either end chose is in both directions, with its entry of the low-rank matrix
    as `edge_weight`. Weights that the graph had count. Cost: N^2 products of `rank` numbers, for looking at; a model
    uses `LowRank`.
    """

    def __init__(self, rank: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__(generator=generator)
        self.rank = rank

    def forward(self, data: Data) -> Data:
        """The view of a homogeneous graph."""
        check_graph(data, self)
        matrix = symmetric_adjacency(data.edge_index, data.num_nodes, edge_weight_of(data))
        low_rank = LowRank(matrix, self.rank, generator=self.generator)
        degrees = matrix.crow.diff().clamp(max=data.num_nodes)  # an edge that is listed twice counts twice
        row, col = [], []
        # Nodes of like degree go together: few of the entries that are sorted out are thrown away.
        for nodes in degrees.argsort().split(_ROWS):
            entries = low_rank.left[nodes] @ low_rank.right.T
            wanted = degrees[nodes].unsqueeze(1)
            best = entries.topk(int(wanted.max()), dim=1).indices
            kept = torch.arange(best.size(1), device=best.device) < wanted
            row.append(nodes.unsqueeze(1).expand_as(best)[kept])
            col.append(best[kept])
        ends = torch.stack([torch.cat(row), torch.cat(col)])
        edges = torch.cat([ends, ends.flip(0)], 1).unique(dim=1)
        weight = (low_rank.left[edges[0]] * low_rank.right[edges[1]]).sum(1)
        return set_edges(data, edges, weight)
