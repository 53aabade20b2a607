"""Random changes of the edges of a graph: drop edges, add edges, drop nodes, keep what random walks visit.

All keep every node and its number: a node that loses its edges is isolated, not removed.
"""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.storage import BaseStorage

from graphcl.errors import InputError
from graphcl.ops import sorted_csr
from graphcl.views.random import RandomView, check_ratio


class EdgeDrop(RandomView):
    """Drops round(`ratio` * E) edges, all equally likely (SGL's ED; Wu et al., SIGIR 2021).

    undirected: both directions of an edge share one fate. On `HeteroData` every edge type loses its own share, and
    types are taken as they are: a type and its reverse are drawn apart.
    """

    def __init__(self, ratio: float, *, undirected: bool = True, generator: torch.Generator | None = None) -> None:
        super().__init__(generator=generator)
        self.ratio, self.undirected = check_ratio("drop ratio", ratio), undirected

    def forward(self, data: Any) -> Any:
        """Drop edges of every edge type."""
        for store in data.edge_stores:
            if self.undirected and isinstance(data, Data):
                pair, count = undirected_pairs(store.edge_index, data.num_nodes)
                keep_edges(store, ~self.choose(count, self.ratio, pair.device).index_select(0, pair))
            else:
                keep_edges(store, ~self.choose(store.edge_index.size(1), self.ratio, store.edge_index.device))
        return data


class NodeDrop(RandomView):
    """Isolates round(`ratio` * N) nodes of every node type: all their edges go (SGL's ND)."""

    def __init__(self, ratio: float, *, generator: torch.Generator | None = None) -> None:
        super().__init__(generator=generator)
        self.ratio = check_ratio("drop ratio", ratio)

    def forward(self, data: Any) -> Any:
        """Drop the edges of the drawn nodes."""
        kept = {
            store._key: ~self.choose(store.num_nodes, self.ratio, data.edge_stores[0].edge_index.device)
            for store in data.node_stores
        }
        for store in data.edge_stores:
            row, col = store.edge_index
            source, target = (None, None) if store._key is None else (store._key[0], store._key[-1])
            keep_edges(store, kept[source].index_select(0, row) & kept[target].index_select(0, col))
        return data


class EdgeAdd(RandomView):
    """Adds round(`ratio` * E) new edges between random nodes that are not yet joined; no loops.

    Edges count once for both directions, and both are added. sides: in a bipartite graph the number of nodes on the
    first side (users); new edges then join the sides. Edge attributes do not survive: nobody knows them for new edges.
    """

    def __init__(self, ratio: float, *, sides: int | None = None, generator: torch.Generator | None = None) -> None:
        super().__init__(generator=generator)
        if ratio < 0:
            raise InputError(f"the share of added edges must not be negative, got {ratio}")
        self.ratio, self.sides = ratio, sides

    def forward(self, data: Data) -> Data:
        """Add edges to a homogeneous, undirected graph."""
        num_nodes, edge_index = data.num_nodes, data.edge_index
        known = undirected_keys(edge_index, num_nodes).unique()
        wanted = round(self.ratio * len(known))
        room = self._pairs(num_nodes) - int((known // num_nodes != known % num_nodes).sum())
        if wanted > room:
            raise InputError(f"{wanted} edges cannot be added: only {room} pairs of nodes are not joined yet")
        added = known.new_empty(0)
        while len(added) < wanted:
            # Enough draws that one round does unless the graph is nearly complete.
            missing = wanted - len(added)
            fresh = self._candidates(num_nodes, 2 * missing + 16, edge_index.device)
            fresh = fresh[~torch.isin(fresh, torch.cat([known, added]))].unique()
            order = torch.randperm(len(fresh), generator=self.generator, device=self.generator.device)
            added = torch.cat([added, fresh[order.to(fresh.device)][:missing]])
        new = torch.stack([added // num_nodes, added % num_nodes])
        return set_edges(data, torch.cat([edge_index, new, new.flip(0)], 1))

    def _pairs(self, num_nodes: int) -> int:
        if self.sides is None:
            return num_nodes * (num_nodes - 1) // 2
        return self.sides * (num_nodes - self.sides)

    def _candidates(self, num_nodes: int, count: int, device: torch.device) -> Tensor:
        ends = self.rand(2, count, device=device).double()
        if self.sides is None:
            low, high = (ends * num_nodes).long().sort(0).values
        else:
            low = (ends[0] * self.sides).long()
            high = self.sides + (ends[1] * (num_nodes - self.sides)).long()
        return (low * num_nodes + high)[low != high]


class RandomWalkSubgraph(RandomView):
    """Keeps the edges among nodes that random walks visit (GCC; Qiu et al., KDD 2020).

    roots: share of nodes from which a walk starts; length: steps of each; restart: chance to jump back to the root
    before a step. A walk stays where it is on a node without edges.
    """

    def __init__(
        self, roots: float, length: int, *, restart: float = 0.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(generator=generator)
        self.roots, self.restart = check_ratio("share of roots", roots), check_ratio("restart", restart)
        self.length = length

    def forward(self, data: Data) -> Data:
        """Keep the induced subgraph of the visited nodes."""
        edge_index, num_nodes = data.edge_index, data.num_nodes
        crow, col, _ = sorted_csr(edge_index, num_nodes)
        root = self.choose(num_nodes, self.roots, edge_index.device).nonzero().flatten()
        visited = torch.zeros(num_nodes, dtype=torch.bool, device=edge_index.device)
        visited[root] = True
        here = root
        for _ in range(self.length):
            if self.restart:
                here = torch.where(self.rand(len(root), device=root.device) < self.restart, root, here)
            start, degree = crow[here], crow[here + 1] - crow[here]
            pick = (self.rand(len(root), device=root.device).double() * degree).long()
            step = (start + pick).clamp(max=max(0, len(col) - 1))
            here = torch.where(degree > 0, col[step] if len(col) else here, here)
            visited[here] = True
        row, col = edge_index
        keep_edges(data.edge_stores[0], visited[row] & visited[col])
        return data


def undirected_keys(edge_index: Tensor, num_nodes: int) -> Tensor:
    """[E] int64, equal for both directions of an edge."""
    row, col = edge_index.long()
    return torch.minimum(row, col) * num_nodes + torch.maximum(row, col)


def undirected_pairs(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, int]:
    """[E] the number of each edge's unordered pair, and how many pairs there are."""
    pairs, number = undirected_keys(edge_index, num_nodes).unique(return_inverse=True)
    return number, len(pairs)


def keep_edges(store: BaseStorage, kept: Tensor) -> None:
    """Reduce a PyG edge store, attributes included, to the edges where `kept` [E] is True."""
    # Asked before anything changes: PyG tells edge attributes by the length of `edge_index`.
    attributes = [key for key, value in store.items() if isinstance(value, Tensor) and store.is_edge_attr(key)]
    for key in attributes:
        store[key] = store[key][:, kept] if key == "edge_index" else store[key][kept]


def set_edges(data: Data, edge_index: Tensor, edge_weight: Tensor | None = None) -> Data:
    """Give a graph other edges; attributes of the old ones go, `edge_weight` [E] comes where it is given."""
    for key in [key for key in data.keys() if data.is_edge_attr(key) and key != "edge_index"]:  # noqa: SIM118
        del data[key]
    data.edge_index = edge_index
    if edge_weight is not None:
        data.edge_weight = edge_weight
    return data
