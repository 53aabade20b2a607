"""From a file of a heterogeneous graph to the features that a model reads, as a configuration describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from torch_geometric.data import HeteroData

from graphcl.data.hetero import load_graph, row_normalized, scipy_features, with_features
from graphcl.errors import InputError


@dataclass(frozen=True, kw_only=True)
class GraphRecipe:
    """A heterogeneous graph, and what is done to its features."""

    path: str
    """An `.npz` archive or a folder of Parquet tables (`graphcl.data.hetero`), under the data folder."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Longer names for the node types of the file."""
    target: str = ""
    """The node type to embed; by default what the file says."""
    normalize: tuple[str, ...] = ()
    """Types whose feature rows are divided by their sums."""
    mean_of: Mapping[str, str] = field(default_factory=dict)
    """Types without features that take the mean of their neighbours of another type, such as {author: paper}."""

    def load(self, root: Path) -> HeteroData:
        """The graph, its file looked for under `root`."""
        data = load_graph(root / self.path, names=self.names, target=self.target or None)
        for name in self.normalize:
            features = scipy_features(data, name)
            if features is None:
                raise InputError(f"graph.normalize: {name!r} has no features in {self.path}.")
            with_features(data, name, row_normalized(features))
        for name, source in self.mean_of.items():
            with_features(data, name, neighbor_mean(data, name, source))
        return data


def neighbor_mean(data: HeteroData, name: str, source: str) -> sp.csr_matrix | np.ndarray:
    """[N, F] for each node of type `name` the mean of the features of its neighbours of type `source`."""
    features = scipy_features(data, source)
    for first, relation, second in data.edge_types:
        if {first, second} == {name, source} and features is not None:
            ends = data[first, relation, second].edge_index.numpy()
            row, column = ends if first == name else ends[::-1]
            shape = data[name].num_nodes, data[source].num_nodes
            return row_normalized(sp.csr_matrix((np.ones(row.size), (row, column)), shape=shape)) @ features
    raise InputError(f"graph.mean_of: {name!r} needs edges to {source!r}, and {source!r} needs features.")
