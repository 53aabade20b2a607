"""From a file of a heterogeneous graph to the features that a model reads, as a configuration describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphcl.data.hetero import load_graph, row_normalized, scipy_features, with_features
from graphcl.data.walks import WalkFeatures, walk_features
from graphcl.errors import InputError


@dataclass(frozen=True, kw_only=True)
class GraphRecipe:
    """A heterogeneous graph, and what is done to its features."""

    path: str
    """An `.npz` archive or a folder of Parquet tables (`graphcl.data.hetero`), under the data folder, or else from the
    folder in which the command runs."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Longer names for the node types of the file."""
    target: str = ""
    """The node type to embed; by default what the file says."""
    normalize: tuple[str, ...] = ()
    """Types whose feature rows are divided by their sums."""
    mean_of: Mapping[str, str] = field(default_factory=dict)
    """Types without features that take the mean of their neighbours of another type, such as {author: paper}."""
    walk_features: WalkFeatures = field(default_factory=WalkFeatures)
    """Features from random walks along a path, for every type on it, in place of those it may have; by default none."""
    positives: str = ""
    """An `.npz` archive (found as `path` is) with known positives of the target nodes, a CSR matrix (`indptr`,
    `indices`); HeCo reads them in place of those it counts itself."""
    shuffle: bool = False
    """Whether the target nodes are renumbered at random (seed 0), so that their order in the file tells nothing."""

    def load(self, root: Path) -> HeteroData:
        """The graph as a model reads it, its file looked for under `root`, then under the working folder."""
        return self.prepare(self.read(root))

    def read(self, root: Path) -> HeteroData:
        """The graph and its known positives as their files have them."""
        data = load_graph(found(root, self.path), names=self.names, target=self.target or None)
        if self.positives:
            store = data[data.target_type]
            store.positives = read_pairs(found(root, self.positives), store.num_nodes)
        return data

    def prepare(self, data: HeteroData) -> HeteroData:
        """The same graph, changed in place, with the features and the order of nodes that a model gets."""
        for name in self.normalize:
            features = scipy_features(data, name)
            if features is None:
                raise InputError(f"graph.normalize: {name!r} has no features in {self.path}.")
            with_features(data, name, row_normalized(features))
        for name, source in self.mean_of.items():
            with_features(data, name, neighbor_mean(data, name, source))
        if self.walk_features.metapath:
            for name, features in walk_features(data, self.walk_features).items():
                data[name].x = features
        return shuffled(data) if self.shuffle else data


def found(root: Path, path: str) -> Path:
    """A path under `root`; where there is none, but one that counts from the working folder, that one."""
    inside, outside = root / path, Path(path).expanduser()
    return outside if outside.exists() and not inside.exists() else inside


def read_pairs(path: Path, num_nodes: int) -> Tensor:
    """[2, E] the entries of a square CSR matrix.

    Raises:
        InputError: there is no such file, or it holds another thing.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            crow, column = (torch.from_numpy(archive[name].astype(np.int64)) for name in ("indptr", "indices"))
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise InputError(f"graph.positives: {path} is no archive of 'indptr' and 'indices' ({error}).") from error
    ends_fit = len(crow) == num_nodes + 1 and crow[0] == 0 and crow[-1] == len(column) and (crow.diff() >= 0).all()
    if not ends_fit or not ((column >= 0) & (column < num_nodes)).all():
        raise InputError(f"graph.positives: {path} is no matrix of {num_nodes} rows and columns, one for each node.")
    return torch.stack([torch.repeat_interleave(crow.diff()), column])


def shuffled(data: HeteroData) -> HeteroData:
    """The same graph with its target nodes renumbered at random (seed 0); features, labels, splits, edges follow."""
    target, store = data.target_type, data[data.target_type]
    order = torch.randperm(store.num_nodes, generator=torch.Generator().manual_seed(0))
    new = torch.empty_like(order)
    new[order] = torch.arange(len(order))
    features = scipy_features(data, target)
    if features is not None:
        with_features(data, target, features[order.numpy()])
    if "y" in store:
        store.y = store.y[order]
    if "positives" in store:
        store.positives = new[store.positives]
    if "splits" in store:
        store.splits = {count: tuple(new[part] for part in parts) for count, parts in store.splits.items()}
    for source, relation, destination in data.edge_types:
        row, column = data[source, relation, destination].edge_index
        row, column = new[row] if source == target else row, new[column] if destination == target else column
        data[source, relation, destination].edge_index = torch.stack([row, column])
    return data


def neighbor_mean(data: HeteroData, name: str, source: str) -> sp.csr_matrix | np.ndarray:
    """[N, F] for each node of type `name` the mean of the features of its neighbours of type `source`, each once."""
    features = scipy_features(data, source)
    for first, relation, second in data.edge_types:
        if {first, second} == {name, source} and features is not None:
            ends = data[first, relation, second].edge_index.numpy()
            row, column = ends if first == name else ends[::-1]
            shape = data[name].num_nodes, data[source].num_nodes
            joined = sp.csr_matrix((np.ones(row.size), (row, column)), shape=shape)
            joined.data[:] = 1  # an edge that is listed twice is one neighbour
            return row_normalized(joined) @ features
    raise InputError(f"graph.mean_of: {name!r} needs edges to {source!r}, and {source!r} needs features.")
