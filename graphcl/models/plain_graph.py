"""One graph over the nodes to embed: what GRACE and DGI read, from a `Data` or through meta-paths of a `HeteroData`."""

import torch
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData

from graphcl.data.check import outside
from graphcl.data.hetero import numpy_array, scipy_features
from graphcl.errors import InputError
from graphcl.models.features import Features
from graphcl.models.metapath_views import paths_of, target_of
from graphcl.ops import SparseMatrix, normalize
from graphcl.views.metapath import path_counts
from graphcl.views.pathsim import most_similar


class PlainGraph(nn.Module):
    """Features and an undirected graph with loops; the weights of its edges are 1.

    Raises:
        InputError: a graph of one type of node names paths, edges to nodes that it does not have, or sparse features.
    """

    def __init__(self, data: Data | HeteroData, metapaths: tuple[str, ...], n_neighbors: int) -> None:
        super().__init__()
        if isinstance(data, HeteroData):
            target = target_of(data)
            self.num_nodes: int = data[target].num_nodes
            edge_index = joined_by(data, metapaths, n_neighbors)
            self.features = Features(scipy_features(data, target), self.num_nodes)
        else:
            self.num_nodes = int(data.num_nodes or 0)
            refuse_unfit(data, metapaths)
            edge_index = data.edge_index.cpu().long()  # the keys below would overflow int32
            self.features = Features(None if data.x is None else numpy_array(data.x), self.num_nodes)
        edge_index = torch.cat([edge_index, edge_index.flip(0)], 1)
        keys = (edge_index[0] * self.num_nodes + edge_index[1])[edge_index[0] != edge_index[1]].unique()
        loops = torch.arange(self.num_nodes).expand(2, -1)
        edge_index = torch.cat([torch.stack([keys // self.num_nodes, keys % self.num_nodes]), loops], 1)
        self.matrix = SparseMatrix.from_edges(
            edge_index.int(), normalize(edge_index, self.num_nodes), shape=self.num_nodes
        )

    def thinned(self, rate: float, generator: torch.Generator) -> Tensor:
        """[E] normalised weights of the matrix when each edge is dropped with probability `rate`; loops stay."""
        row, column = self.matrix.edge_index
        kept = torch.rand(self.matrix.num_edges, generator=generator, device=row.device) >= rate
        return normalize(torch.stack([row, column]), self.num_nodes, (kept | (row == column)).to(self.matrix.value))


def joined_by(data: HeteroData, metapaths: tuple[str, ...], n_neighbors: int) -> Tensor:
    """[2, E] the pairs of target nodes that any of the paths joins; each node picks its most similar ones."""
    found = []
    for path in paths_of(data, metapaths):
        kept = most_similar(path_counts(data, path), n_neighbors or None).tocoo()
        found.append(torch.stack([torch.from_numpy(kept.row).long(), torch.from_numpy(kept.col).long()]))
    return torch.cat(found, 1)


def refuse_unfit(data: Data, metapaths: tuple[str, ...]) -> None:
    """Raise `InputError` where a graph of one type of node cannot be read."""
    if metapaths:
        raise InputError(f"metapaths: {metapaths[0]!r} joins nodes of a HeteroData; a Data has one type and its edges")
    if data.x is not None and data.x.layout != torch.strided:
        raise InputError("data.x: must be a dense tensor [N, F]; call its to_dense(), or give a HeteroData")
    if data.edge_index is None:
        raise InputError(
            "data.edge_index: is missing; set it to [2, E], or to torch.empty(2, 0) for a graph of no edges"
        )
    count = int(data.num_nodes or 0)
    for wrong in outside(data.edge_index, count):
        raise InputError(f"data.edge_index: names node {wrong}, but they are numbered 0..{count - 1}")
