"""The graph of who is near whom by personalised PageRank (GDC; Klicpera et al., NeurIPS 2019)."""

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from graphcl.errors import InputError
from graphcl.ops import SparseMatrix, normalize, spmm
from graphcl.views.structure import set_edges

_COLUMNS = 256
"""Nodes whose PageRank is computed at a time: [N, 256] are held."""


class PersonalizedPageRank(BaseTransform):
    r"""Replaces the edges of each node i by its `top_k` largest entries of $\alpha \sum_t (1 - \alpha)^t T^t e_i$.

    T is the column-stochastic transition matrix; the series ends where the mass left over falls below `tolerance`.
    The view carries `edge_weight` [k N], the entries of each node summing to one; edges run from the node that is near
    to the node that it is near to, so that rows of a sparse matrix of `edge_index.flip(0)` receive. Nothing is random.
    A node without edges keeps a loop to itself. Cost: N / 256 products with the graph for each term of the series.
    """

    def __init__(self, alpha: float = 0.15, top_k: int = 32, *, tolerance: float = 1e-3) -> None:
        if not 0 < alpha < 1 or top_k < 1:
            raise InputError(f"alpha must lie in (0, 1) and top_k be at least 1, got {alpha} and {top_k}")
        self.alpha, self.top_k, self.tolerance = alpha, top_k, tolerance

    def forward(self, data: Data) -> Data:
        """The view of a homogeneous graph."""
        num_nodes = data.num_nodes
        transposed = data.edge_index.flip(0)
        # Row i of the walk's matrix, over its sum, says where a walker from i goes; its transpose moves the mass.
        walk = SparseMatrix.from_edges(
            data.edge_index, normalize(data.edge_index, num_nodes, by="row"), shape=num_nodes
        )
        kept = min(self.top_k, num_nodes)
        source, weight = [], []
        for start in range(0, num_nodes, _COLUMNS):
            nodes = torch.arange(start, min(start + _COLUMNS, num_nodes), device=transposed.device)
            best = self._scores(walk, nodes).topk(kept, dim=0)
            source.append(best.indices.T)
            weight.append(best.values.T / best.values.sum(0).unsqueeze(1))
        target = torch.arange(num_nodes, device=transposed.device).repeat_interleave(kept)
        edges, values = torch.stack([torch.cat(source).flatten(), target]), torch.cat(weight).flatten()
        return set_edges(data, edges[:, values > 0], values[values > 0])

    def _scores(self, walk: SparseMatrix, nodes: Tensor) -> Tensor:
        """[N, len(nodes)] PageRank of every node as seen from each of `nodes`."""
        mass = torch.zeros(walk.num_rows, len(nodes), device=nodes.device)
        mass[nodes, torch.arange(len(nodes), device=nodes.device)] = 1
        total, left = self.alpha * mass, 1.0
        while (left := left * (1 - self.alpha)) > self.tolerance:
            mass = spmm(walk, mass, transpose=True)
            total.add_(mass, alpha=self.alpha * left)
        return total
