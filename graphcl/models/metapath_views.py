"""What the meta-path models read and never change: features, graphs and contexts, made once from a `HeteroData`."""

from collections.abc import Mapping, MutableSequence, Sequence
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from torch import nn
from torch_geometric.data import HeteroData

from graphcl.data.hetero import scipy_features
from graphcl.errors import InputError
from graphcl.models.blocks import sparse_matrix
from graphcl.models.features import Features, masked_features
from graphcl.ops import SparseMatrix
from graphcl.views.contexts import Context, contexts
from graphcl.views.metapath import MetaPath, Step, path_counts
from graphcl.views.pathsim import Ties, masked_copy, mean_graph, most_similar, receiving
from graphcl.views.walks import walked_counts


class Settings(Protocol):
    """The part of a model's `Config` that shapes its views."""

    metapaths: tuple[str, ...]
    n_neighbors: tuple[int, ...]
    feature_mask: float
    edge_mask: tuple[float, ...]
    ties: Ties
    n_walks: int


class MetaPathViews(nn.Module):
    """Per path a graph and a masked copy; one coarse graph; features by type; contexts by place on the paths."""

    # Modules, so that they follow `.to(device)`; declared as what they hold.
    graphs: Sequence[SparseMatrix]
    """[N, N] per path."""
    masked_graphs: MutableSequence[SparseMatrix]
    """[N, N] per path."""
    coarse_graph: SparseMatrix
    """[N, N]"""
    places: list[list[int]]
    """Per path: the numbers of its contexts; paths that begin alike share some."""
    context_types: list[str]
    """The node type of each context."""
    context_factors: Sequence[Sequence[SparseMatrix]]
    """Per context: matrices whose product [N, M] averages over the nodes met."""
    masked_features: Features
    """The target's features with some entries missing."""
    features: Mapping[str, Features]
    """Of the target and every type that is met."""

    def __init__(self, data: HeteroData, settings: Settings, random: np.random.Generator) -> None:
        super().__init__()
        self.target = target_of(data)
        self.num_nodes: int = data[self.target].num_nodes
        check_type_names(data)
        paths = paths_of(data, settings.metapaths)
        for path in paths:
            if len(path.steps) < 2:
                raise InputError(f"metapaths: {path.text!r} meets nothing on its way; it needs at least two steps.")
        limits = _per_path("n_neighbors", settings.n_neighbors, paths)
        rates = _per_path("edge_mask", settings.edge_mask, paths)

        kept = [
            most_similar(_counts(data, path, settings.n_walks, random), limit, settings.ties)
            for path, limit in zip(paths, limits, strict=True)
        ]
        graphs = [receiving(matrix) for matrix in kept]
        masked = [receiving(masked_copy(matrix, rate, random)) for matrix, rate in zip(kept, rates, strict=True)]
        self.graphs = nn.ModuleList(map(sparse_matrix, graphs))  # type: ignore[assignment]
        self.masked_graphs = nn.ModuleList(map(sparse_matrix, masked))  # type: ignore[assignment]
        self.coarse_graph = sparse_matrix(mean_graph(graphs)) if len(graphs) > 1 else self.graphs[0]
        self.places, distinct = _places([contexts(data, path) for path in paths])
        self.context_types = [context.node_type for context in distinct]
        factors = (nn.ModuleList(map(sparse_matrix, _averaging(context))) for context in distinct)
        self.context_factors = nn.ModuleList(factors)  # type: ignore[assignment]
        own = scipy_features(data, self.target)
        self.masked_features = Features(masked_features(own, settings.feature_mask, random), self.num_nodes)
        types = dict.fromkeys([self.target, *self.context_types])
        tables = {name: Features(scipy_features(data, name), data[name].num_nodes) for name in types}
        self.features = nn.ModuleDict(tables)  # type: ignore[assignment]


def target_of(data: HeteroData) -> str:
    """The type to embed, `data.target_type`; the only type there is, where nothing says so."""
    if "target_type" in data:
        return str(data.target_type)
    if len(data.node_types) == 1:
        return str(data.node_types[0])
    raise InputError(f"Set data.target_type to the node type to embed, one of {', '.join(data.node_types)}.")


def paths_of(data: HeteroData, metapaths: Sequence[str]) -> list[MetaPath]:
    """The paths of a configuration, each from the target type back to it."""
    target = target_of(data)
    if not metapaths:
        raise InputError(f"metapaths: name at least one path from {target!r} back to it.")
    paths = [MetaPath.parse(text, data) for text in metapaths]
    for path in paths:
        if (path.types[0], path.types[-1]) != (target, target):
            raise InputError(f"metapaths: {path.text!r} must begin and end with the target type {target!r}.")
    return paths


def check_type_names(data: HeteroData) -> None:
    """Raise `InputError` where a node type cannot name a part of an `nn.ModuleDict`, such as "items" or "a.b"."""
    taken = nn.ModuleDict()
    for name in data.node_types:
        if "." in name or hasattr(taken, name):
            raise InputError(
                f"The node type {name!r} has a name that torch keeps for itself; give it another one (graph.names)."
            )


def _per_path(key: str, given: tuple[Any, ...], paths: list[MetaPath]) -> tuple[Any, ...]:
    if len(given) not in (1, len(paths)):
        raise InputError(f"{key}: give one value, or one for each of the {len(paths)} metapaths; got {len(given)}.")
    return given if len(given) == len(paths) else given * len(paths)


def _counts(data: HeteroData, path: MetaPath, n_walks: int, random: np.random.Generator) -> sp.csr_matrix:
    return walked_counts(data, path, n_walks, random) if n_walks else path_counts(data, path)


def _places(by_path: list[list[Context]]) -> tuple[list[list[int]], list[Context]]:
    numbers: dict[tuple[Step, ...], int] = {}
    distinct: list[Context] = []
    for context in (context for found in by_path for context in found):
        if context.steps not in numbers:
            numbers[context.steps] = len(distinct)
            distinct.append(context)
    return [[numbers[context.steps] for context in found] for found in by_path], distinct


def _averaging(context: Context) -> list[sp.csr_matrix]:
    first, *others = context.factors
    return [(sp.diags(1 / context.count) @ first).tocsr(), *others]
