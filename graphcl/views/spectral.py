"""The low-rank view of a graph: what its largest singular vectors say (LightGCL; Cai et al., ICLR 2023)."""

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

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
    """The likeliest edges of a low-rank graph: every node keeps as many neighbours as it had, the strongest; no loops.

    The graph is undirected; an edge that either end chose is in both directions, with its entry of the low-rank matrix
    as `edge_weight` (of one that is not quite symmetric, because of equal singular values, the symmetric part). Weights
    that the graph had count. Cost: N^2 products of `rank` numbers, for looking at; a model uses `LowRank`.

    sides: in a bipartite graph the number of nodes on the first side (users). The low-rank matrix is then that of the
    first side's rows and the second's columns, as in LightGCL, and all edges join the sides; without it, the singular
    vectors of the whole adjacency mix them.
    """

    def __init__(self, rank: int, *, sides: int | None = None, generator: torch.Generator | None = None) -> None:
        super().__init__(generator=generator)
        self.rank, self.sides = rank, sides

    def forward(self, data: Data) -> Data:
        """The view of a homogeneous graph.

        Raises:
            InputError: the graph has no `rank` singular vectors, or edges within one of its `sides`.
        """
        check_graph(data, self)
        matrix = symmetric_adjacency(data.edge_index, data.num_nodes, edge_weight_of(data))
        degrees = matrix.crow.diff()
        if self.sides is None:
            low_rank = LowRank(matrix, self.rank, generator=self.generator)
            one, other = low_rank.left / 2, low_rank.right
            left, right = torch.cat([one, other / 2], 1), torch.cat([other, low_rank.left], 1)
            pairs = strongest(left, right, degrees, loops=False).sort(dim=0).values
        else:
            low_rank = LowRank(bipartite_block(matrix, self.sides), self.rank, generator=self.generator)
            left, right = low_rank.left, low_rank.right
            first, second = degrees.split([self.sides, data.num_nodes - self.sides])
            pairs = torch.cat([strongest(left, right, first), strongest(right, left, second).flip(0)], 1)
        start = torch.tensor([[0], [self.sides or 0]], device=pairs.device)
        pairs = pairs.unique(dim=1)
        weight = (left[pairs[0]] * right[pairs[1]]).sum(1)
        return set_edges(data, *to_undirected(pairs + start, weight, data.num_nodes, reduce="max"))


def bipartite_block(matrix: SparseMatrix, sides: int) -> SparseMatrix:
    """[S, N - S] the rows of the first side's nodes and the columns of the second's.

    Raises:
        InputError: `sides` is no number of nodes, or an entry lies within one side.
    """
    if not 0 <= sides <= matrix.num_rows:
        raise InputError(f"sides: is the number of nodes on the first side, {sides} of {matrix.num_rows}")
    edge_index, upper = matrix.edge_index.long(), matrix.row < sides
    if bool(((edge_index[1] < sides) == upper).any()):
        raise InputError(f"sides: an edge joins two nodes on one side of {sides}; number all of the first side first")
    pairs = edge_index[:, upper] - torch.tensor([[0], [sides]], device=edge_index.device)
    return SparseMatrix.from_edges(pairs, matrix.value[upper], shape=(sides, matrix.num_rows - sides))


def strongest(left: Tensor, right: Tensor, count: Tensor, *, loops: bool = True) -> Tensor:
    """[2, E] row and column of the `count` [R] largest entries in each row of `left` [R, q] times `right` [C, q]^T.

    Without `loops` row i never takes column i.
    """
    count = count.clamp(max=len(right) - (not loops))  # an edge that is listed twice counts twice
    found = []
    # Rows of like count go together: few of the entries that are sorted out are thrown away.
    for rows in count.argsort().split(_ROWS):
        wanted = count[rows].unsqueeze(1)
        entries = left[rows] @ right.T
        if not loops:
            entries.scatter_(1, rows.unsqueeze(1), -torch.inf)
        best = entries.topk(int(wanted.max()), dim=1).indices
        kept = torch.arange(best.size(1), device=best.device) < wanted
        found.append(torch.stack([rows.unsqueeze(1).expand_as(best)[kept], best[kept]]))
    return torch.cat(found, 1)
