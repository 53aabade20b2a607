"""What a view does to a graph, and whether representations collapse."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch_geometric.data import Data

from graphcl.objectives.noncontrastive import alignment, uniformity
from graphcl.views.structure import undirected_keys


class ViewReport(NamedTuple):
    """A view beside the graph that it was made from; edges count once, whatever their directions."""

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
    first, second = (undirected_keys(graph.edge_index, num_nodes).unique().cpu() for graph in (before, after))
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


class Spread(NamedTuple):
    """How representations lie on the sphere."""

    alignment: float
    """Mean squared distance of the two sides of a pair; 0 is perfect."""
    uniformity: float
    """Log of the mean Gaussian potential; lower is more spread, 0 is one point (Wang & Isola, ICML 2020)."""
    effective_rank: float
    """Exponential of the entropy of normalised singular values (Roy & Vetterli, 2007); 1 is a line."""


@torch.no_grad()
def spread(
    x: Tensor, pairs: tuple[Tensor, Tensor] | None = None, *, generator: torch.Generator, sample: int = 4096
) -> Spread:
    """Judge rows of `x` [N, d]; `pairs` are numbers of rows [P], [P] that belong together (NaN without them).

    Uniformity and rank look at `sample` rows at most, alignment at as many pairs; `generator` (on the CPU) draws them.
    """
    rows = torch.randperm(len(x), generator=generator)[:sample].to(x.device)
    unit = F.normalize(x.float().index_select(0, rows), dim=1)
    aligned = float("nan")
    if pairs is not None and len(pairs[0]):
        chosen = torch.randint(len(pairs[0]), (min(sample, len(pairs[0])),), generator=generator).to(x.device)
        left, right = (x.index_select(0, side.to(x.device).index_select(0, chosen)) for side in pairs)
        aligned = float(alignment(left, right))
    return Spread(aligned, float(uniformity(unit)) if len(unit) > 1 else 0.0, effective_rank(unit))


def effective_rank(x: Tensor) -> float:
    """Between 1 and d for rows `x` [n, d] that are not all zero; 0 if they are. Rows are not centred."""
    singular = torch.linalg.svdvals(x.double())
    total = singular.sum()
    if total == 0:
        return 0.0
    share = singular / total
    return float(torch.special.entr(share).sum().exp())


def _degrees(keys: Tensor, num_nodes: int) -> Tensor:
    ends = torch.cat([keys // num_nodes, keys % num_nodes])
    return torch.bincount(ends, minlength=num_nodes).double()


def _components(keys: Tensor, num_nodes: int) -> tuple[int, int]:
    """How many, and the size of the largest."""
    low, high = (keys // num_nodes).numpy(), (keys % num_nodes).numpy()
    joined = coo_matrix(([True] * len(low), (low, high)), shape=(num_nodes, num_nodes))
    count, label = connected_components(joined, directed=False)
    return int(count), int(torch.from_numpy(label).bincount().max()) if num_nodes else 0
