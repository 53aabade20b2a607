"""The graph of who is near whom by personalised PageRank (GDC; Klicpera et al., NeurIPS 2019)."""

from math import inf, log, log1p

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from graphcl.errors import InputError
from graphcl.ops import SparseMatrix, normalize, spmm
from graphcl.views.random import check_graph
from graphcl.views.structure import edge_weight_of, set_edges

_COLUMNS = 256
"""Nodes whose PageRank is computed at a time: [N, 256] are held."""
_TERMS = 10_000
"""A longer series is taken for a mistake."""


class PersonalizedPageRank(BaseTransform):
    r"""Replaces the edges of each node i by its `top_k` largest entries of $\alpha \sum_t (1 - \alpha)^t T^t e_i$.

    T is the column-stochastic transition matrix; the series ends where the mass left over falls below `tolerance`.
    The view carries `edge_weight` [k N], the entries of each node summing to one; edges run from the node that is near
    to the node that it is near to, so that rows of a sparse matrix of `edge_index.flip(0)` receive. Nothing is random.
    A node without edges keeps a loop to itself. A walker prefers edges by their `edge_weight`, where the graph has it.
    Cost: N / 256 products with the graph for each term of the series.
    """

    def __init__(self, alpha: float = 0.15, top_k: int = 32, *, tolerance: float = 1e-3) -> None:
        if not 0 < alpha < 1 or top_k < 1:
            raise InputError(f"alpha must lie in (0, 1) and top_k be at least 1, got {alpha} and {top_k}")
        terms = log(tolerance) / log1p(-alpha) if 0 < tolerance < 1 else inf
        if terms > _TERMS:
            raise InputError(
                f"alpha {alpha:g} and tolerance {tolerance:g} need {terms:.3g} terms of the series, "
                f"{_TERMS} are allowed; raise either"
            )
        self.alpha, self.top_k, self.tolerance = alpha, top_k, tolerance

    def forward(self, data: Data) -> Data:
        """The view of a homogeneous graph."""
        check_graph(data, self)
        num_nodes, device = data.num_nodes, data.edge_index.device
        if not num_nodes:
            return set_edges(data, data.edge_index, data.edge_index.new_empty(0, dtype=torch.float))
        # Row i of the walk's matrix, over its sum, says where a walker from i goes; its transpose moves the mass.
        chance = normalize(data.edge_index, num_nodes, edge_weight_of(data), by="row")
        walk = SparseMatrix.from_edges(data.edge_index, chance, shape=num_nodes)
        kept = min(self.top_k, num_nodes)
        source, weight = [], []
        for start in range(0, num_nodes, _COLUMNS):
            nodes = torch.arange(start, min(start + _COLUMNS, num_nodes), device=device)
            best = self._scores(walk, nodes).topk(kept, dim=0)
            source.append(best.indices.T)
            weight.append(best.values.T / best.values.sum(0).unsqueeze(1))
        target = torch.arange(num_nodes, device=device).repeat_interleave(kept)
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
