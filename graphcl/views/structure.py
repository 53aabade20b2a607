"""Random changes of the edges of a graph: drop edges, add edges, drop nodes, keep what random walks visit.

All keep every node and its number: a node that loses its edges is isolated, not removed.
"""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.storage import BaseStorage, NodeStorage

from graphcl.errors import InputError
from graphcl.ops import sorted_csr
from graphcl.views.random import RandomView, check_graph, check_ratio


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
        check_graph(data, self, typed=True)
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
        check_graph(data, self, typed=True)
        kept = {
            store._key: ~self.choose(store.num_nodes, self.ratio, torch.device("cpu")) for store in data.node_stores
        }
        for store in data.edge_stores:
            row, col = store.edge_index
            source, target = (None, None) if store._key is None else (store._key[0], store._key[-1])
            left, right = kept[source].to(row.device), kept[target].to(row.device)
            keep_edges(store, left.index_select(0, row) & right.index_select(0, col))
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
        check_graph(data, self)
        num_nodes, edge_index = data.num_nodes, data.edge_index
        if self.sides is not None and not 0 <= self.sides <= num_nodes:
            raise InputError(f"EdgeAdd: sides is the number of nodes on the first side, {self.sides} of {num_nodes}")
        known = undirected_keys(edge_index, num_nodes).unique()
        wanted = round(self.ratio * len(known))
        room = self._pairs(num_nodes) - int(self._counts(known // num_nodes, known % num_nodes).sum())
        if wanted > room:
            raise InputError(f"{wanted} edges cannot be added: only {room} pairs of nodes are not joined yet")
        new = self._new_edges(num_nodes, known, wanted, crowded=room < len(known) + 2 * wanted)
        return set_edges(data, torch.cat([edge_index, new, new.flip(0)], 1))

    def _new_edges(self, num_nodes: int, known: Tensor, wanted: int, *, crowded: bool) -> Tensor:
        """[2, wanted] pairs that are not among the keys `known`; all free ones are listed where most are taken."""
        if crowded:
            pairs = self._all_pairs(num_nodes, known.device)
            added = self._shuffled(pairs[~torch.isin(pairs, known)])[:wanted]
            return torch.stack([added // num_nodes, added % num_nodes])
        added = known.new_empty(0)
        while len(added) < wanted:
            missing = wanted - len(added)
            fresh = self._candidates(num_nodes, 2 * missing + 16, known.device)
            fresh = fresh[~torch.isin(fresh, torch.cat([known, added]))].unique()
            added = torch.cat([added, self._shuffled(fresh)[:missing]])
        return torch.stack([added // num_nodes, added % num_nodes])

    def _shuffled(self, keys: Tensor) -> Tensor:
        order = torch.randperm(len(keys), generator=self.generator, device=self.generator.device)
        return keys[order.to(keys.device)]

    def _all_pairs(self, num_nodes: int, device: torch.device) -> Tensor:
        if self.sides is None:
            low, high = torch.triu_indices(num_nodes, num_nodes, 1, device=device)
            return low * num_nodes + high
        low, high = torch.arange(self.sides, device=device), torch.arange(self.sides, num_nodes, device=device)
        return (low.unsqueeze(1) * num_nodes + high).flatten()

    def _pairs(self, num_nodes: int) -> int:
        if self.sides is None:
            return num_nodes * (num_nodes - 1) // 2
        return self.sides * (num_nodes - self.sides)

    def _counts(self, low: Tensor, high: Tensor) -> Tensor:
        """Which of these pairs, the smaller number first, are among those that may be joined."""
        return low != high if self.sides is None else (low < self.sides) & (high >= self.sides)

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
        check_graph(data, self)
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
    """Reduce a PyG edge store, attributes included, to the edges where `kept` [E] is True.

    What an attribute of edges is, PyG says: where there are as many nodes as edges, only names with `edge` in them.
    """
    write_down_num_nodes(store)
    # Asked before anything changes: PyG tells edge attributes by the length of `edge_index`.
    attributes = [key for key, value in store.items() if isinstance(value, Tensor) and store.is_edge_attr(key)]
    for key in attributes:
        edges_along = store._parent().__cat_dim__(key, store[key], store)
        store[key] = store[key].index_select(edges_along, kept.nonzero().flatten())


def write_down_num_nodes(store: BaseStorage) -> None:
    """Keep the number of nodes of a graph that has it from its edges alone: fewer edges are not fewer nodes."""
    if isinstance(store, NodeStorage) and "num_nodes" not in store:
        store.num_nodes = store.num_nodes


def set_edges(data: Data, edge_index: Tensor, edge_weight: Tensor | None = None) -> Data:
    """Give a graph other edges; attributes of the old ones go, `edge_weight` [E] comes where it is given."""
    write_down_num_nodes(data.edge_stores[0])
    for key in [key for key in data.keys() if data.is_edge_attr(key) and key != "edge_index"]:  # noqa: SIM118
        del data[key]
    data.edge_index = edge_index
    if edge_weight is not None:
        data.edge_weight = edge_weight
    return data


def edge_weight_of(data: Data) -> Tensor | None:
    """[E] a constant, or None where the graph has no weights."""
    weight = data.get("edge_weight")
    return None if weight is None else weight.detach()
