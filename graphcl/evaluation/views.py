"""What a view does to a graph: to its edges, to the weights of edges, to the features of nodes."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch_geometric.data import Data

from graphcl.views.structure import undirected_keys


class ViewReport(NamedTuple):
    """A view beside the graph that it was made from; edges count once, whatever their directions, loops not at all."""

    edges_before: int
    edges_after: int
    edges_kept: float
    """Share of the graph's edges that the view has."""
    edge_overlap: float
    """Edges of both over edges of either (Jaccard)."""
    components_before: int
    components_after: int
    largest_component: float
    """Share of all nodes in the view's largest component."""
    isolated_before: int
    isolated_after: int
    mean_degree_before: float
    mean_degree_after: float
    degree_shift: float
    """Mean absolute change of a node's degree, over the mean degree before."""


def compare(before: Data, after: Data) -> ViewReport:
    """Diagnose a view of a homogeneous graph with the same nodes."""
    num_nodes = before.num_nodes
    first, second = (_joined_pairs(graph, num_nodes) for graph in (before, after))
    both = int(torch.isin(first, second).sum())
    either = len(first) + len(second) - both
    degrees = [_degrees(keys, num_nodes) for keys in (first, second)]
    components = [_components(keys, num_nodes) for keys in (first, second)]
    return ViewReport(
        edges_before=len(first),
        edges_after=len(second),
        edges_kept=both / max(1, len(first)),
        edge_overlap=both / max(1, either),
        components_before=components[0][0],
        components_after=components[1][0],
        largest_component=components[1][1] / max(1, num_nodes),
        isolated_before=int((degrees[0] == 0).sum()),
        isolated_after=int((degrees[1] == 0).sum()),
        mean_degree_before=float(degrees[0].mean()),
        mean_degree_after=float(degrees[1].mean()),
        degree_shift=float((degrees[1] - degrees[0]).abs().mean() / degrees[0].mean().clamp(min=1e-12)),
    )


class WeightReport(NamedTuple):
    """The weights of a view's edges; edges of weight zero are no edges any more."""

    mean: float
    sd: float
    smallest: float
    lower_quartile: float
    median: float
    upper_quartile: float
    largest: float


@torch.no_grad()
def weights_of(view: Data) -> WeightReport | None:
    """Statistics of `edge_weight`; None where a view has none."""
    weight = view.get("edge_weight")
    if weight is None or not len(weight):
        return None
    ordered = weight.double().sort().values
    at = [float(ordered[round(share * (len(ordered) - 1))]) for share in (0, 0.25, 0.5, 0.75, 1)]
    return WeightReport(float(ordered.mean()), float(ordered.std(correction=0)), *at)


class FeatureReport(NamedTuple):
    """Features of a view beside those of its graph."""

    rows_changed: float
    """Share of nodes whose row changed."""
    columns_emptied: float
    """Share of features that are zero everywhere in the view and were not before."""
    mean_cosine: float
    """Mean cosine of a node's row before and after; 1 for a row that did not change, zeros included."""


@torch.no_grad()
def features_changed(before: Data, after: Data) -> FeatureReport | None:
    """How the features `x` changed; None where there are none."""
    if before.x is None or after.x is None or not before.x.numel():
        return None
    empty = [(x == 0).all(0) for x in (before.x, after.x)]
    return FeatureReport(
        rows_changed=float((before.x != after.x).any(1).double().mean()),
        columns_emptied=float((empty[1] & ~empty[0]).double().mean()),
        mean_cosine=float(row_cosine(before.x, after.x).mean()),
    )


def row_cosine(a: Tensor, b: Tensor) -> Tensor:
    """[N] cosine of the rows of [N, d] each, 1 where they are equal."""
    return F.cosine_similarity(a, b, dim=1).masked_fill((a == b).all(1), 1.0)


def _joined_pairs(graph: Data, num_nodes: int) -> Tensor:
    row, col = graph.edge_index
    return undirected_keys(graph.edge_index[:, row != col], num_nodes).unique().cpu()


def _degrees(keys: Tensor, num_nodes: int) -> Tensor:
    ends = torch.cat([keys // num_nodes, keys % num_nodes])
    return torch.bincount(ends, minlength=num_nodes).double()


def _components(keys: Tensor, num_nodes: int) -> tuple[int, int]:
    """How many, and the size of the largest."""
    low, high = (keys // num_nodes).numpy(), (keys % num_nodes).numpy()
    joined = coo_matrix(([True] * len(low), (low, high)), shape=(num_nodes, num_nodes))
    count, label = connected_components(joined, directed=False)
    return int(count), int(torch.from_numpy(label).bincount().max()) if num_nodes else 0
