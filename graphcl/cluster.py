"""k-means on the device of its points, and how concentrated its clusters are."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from graphcl.errors import InputError, refuse_unknown_word
from graphcl.ops import full_precision

Metric = Literal["euclidean", "inner"]

_CHUNK_CELLS = 1 << 20
"""Largest block of points x centroids held at once (4 MB in float32, which stays in cache)."""
_POINTS_PER_SEED = 64
"""The seeding sees at most this many points for each cluster; more change the result by less than the seed does."""


class Clusters(NamedTuple):
    """A partition of points."""

    centroids: Tensor
    """[K, d] the mean of each cluster's points when it was last computed: once converged, of those of `assignment`."""
    assignment: Tensor
    """[N] int64, the cluster nearest to each point under these centroids."""
    inertia: Tensor
    """[] the objective: sum of squared distances to the own centroid, or of inner products with it, negated."""


@torch.no_grad()
def kmeans(
    x: Tensor,
    n_clusters: int,
    *,
    generator: torch.Generator,
    init: Tensor | None = None,
    n_init: int = 1,
    max_iter: int = 20,
    tol: float = 1e-4,
    metric: Metric = "euclidean",
) -> Clusters:
    """Lloyd's algorithm, seeded by k-means++ (Arthur & Vassilvitskii, SODA 2007); the best of `n_init` starts.

    x: [N, d] points. init: [K, d] centroids of an earlier call, a warm start that replaces the seeding. A start ends
    after `max_iter` rounds, or once the squared shift of all centroids falls to `tol` times the mean variance of a
    coordinate. metric "inner": points go to the centroid of largest inner product (faiss's spherical index without
    normalisation, which MEOW's authors use). A cluster that loses its points takes the worst placed one.
    Memory beyond the points is O(K d + N); `generator` lives on the points' device.

    Raises `InputError` with fewer points than clusters, points that are not finite, or `init` of another shape.
    """
    if n_clusters < 1 or n_init < 1:
        raise InputError(f"k-means: needs at least one cluster and one start, got {n_clusters} and {n_init}")
    if x.dim() != 2 or len(x) < n_clusters:
        raise InputError(
            f"k-means: {n_clusters} clusters need a table of at least as many points, got {tuple(x.shape)}"
        )
    for what, rows in (("points", x), ("centroids of init", init)):
        if rows is not None and not bool(rows.isfinite().all()):
            raise InputError(f"k-means: the {what} contain NaN or infinity")
    if init is not None and init.shape != (n_clusters, x.size(1)):
        raise InputError(
            f"k-means: init must hold {n_clusters} centroids of {x.size(1)} numbers, got {tuple(init.shape)}"
        )
    x = full_precision(x)
    threshold = tol * float(x.var(0, unbiased=False).mean())
    best: Clusters | None = None
    for _ in range(1 if init is not None else n_init):
        centroids = _seeds(x, n_clusters, generator) if init is None else init.to(x).clone()
        for _ in range(max_iter):
            previous = centroids
            centroids = _means(x, *assign(x, centroids, metric), previous)
            if float((centroids - previous).square().sum()) <= threshold:
                break
        assignment, cost = assign(x, centroids, metric)
        found = Clusters(centroids, assignment, cost.sum())
        if best is None or bool(found.inertia < best.inertia):
            best = found
    assert best is not None  # n_init starts at one
    return best


@torch.no_grad()
def assign(x: Tensor, centroids: Tensor, metric: Metric = "euclidean") -> tuple[Tensor, Tensor]:
    """The nearest centroid of each point [N] int64, and its cost [N]: squared distance, or minus the inner product."""
    refuse_unknown_word("metric", metric, get_args(Metric))
    x = x.to(centroids.dtype)
    euclidean = metric == "euclidean"
    # Distances come from squares, which lose their digits far from the origin: it is moved among the centroids.
    origin = centroids.mean(0)
    targets = centroids - origin if euclidean else centroids
    bias = -0.5 * targets.square().sum(1) if euclidean else targets.new_zeros(len(targets))
    nearest = torch.empty(len(x), dtype=torch.long, device=x.device)
    cost = x.new_empty(len(x))
    rows = max(1, _CHUNK_CELLS // len(centroids))
    with torch.autocast(x.device.type, enabled=False):
        for start in range(0, len(x), rows):
            block = slice(start, start + rows)
            points = x[block] - origin if euclidean else x[block]
            torch.max(torch.addmm(bias, points, targets.T), dim=1, out=(cost[block], nearest[block]))
            if euclidean:
                cost[block].mul_(-2).add_(points.square().sum(1)).clamp_(min=0)
    return nearest, cost if euclidean else -cost


def _means(x: Tensor, assignment: Tensor, cost: Tensor, previous: Tensor) -> Tensor:
    """[K, d] mean of each cluster; empty clusters take the points of highest cost, one each."""
    count = torch.bincount(assignment, minlength=len(previous))
    total = torch.zeros_like(previous).index_add_(0, assignment, x)
    centroids = total / count.clamp(min=1).unsqueeze(1).to(x)
    empty = (count == 0).nonzero().flatten()
    centroids[empty] = x[cost.topk(len(empty)).indices]
    return centroids


def _seeds(x: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """[K, d] points, each drawn in proportion to its squared distance from those drawn before."""
    sample = torch.randperm(len(x), generator=generator, device=x.device)[: _POINTS_PER_SEED * n_clusters]
    sampled, x = x[sample], x[sample] - x[sample].mean(0)
    norm = x.square().sum(1)
    distance = torch.full_like(norm, torch.inf)
    chosen = torch.zeros(n_clusters, dtype=torch.long, device=x.device)  # the sample is shuffled: 0 is a fair first
    uniform = torch.rand(n_clusters, generator=generator, device=x.device, dtype=torch.float64)
    for k in range(1, n_clusters):
        last = chosen[k - 1]
        distance = torch.minimum(distance, (norm - 2 * (x @ x[last]) + norm[last]).clamp(min=0))
        distance[last] = 0
        # Where fewer distinct points than clusters exist all distances end at zero: then any point will do.
        weight = distance.double()
        cumulative = torch.where(weight.sum() > 0, weight, 1.0).cumsum(0)
        chosen[k] = torch.searchsorted(cumulative, uniform[k : k + 1] * cumulative[-1], right=True)[0]
        chosen[k].clamp_(max=len(x) - 1)
    return sampled[chosen]


def concentrations(
    spread: Tensor, assignment: Tensor, n_clusters: int, *, temperature: float, smoothing: float = 10.0
) -> Tensor:
    r"""[K] a temperature for each cluster: $\phi_k = \sum_i \sqrt{s_i} / (n_k \ln(n_k + \alpha))$ over its members.

    spread: [N] what the point's root is taken of: squared distances to the centroid (Li et al., ICLR 2021, eq. 12)
    or, as MEOW's authors have it, inner products with it. Clusters of fewer than two points, or of equal ones, take
    the largest value; all are then clipped to the 10th and 90th percentile and scaled so that their mean is
    `temperature`.
    """
    count = torch.bincount(assignment, minlength=n_clusters).to(spread)
    total = spread.new_zeros(n_clusters).index_add_(0, assignment, spread.clamp(min=0).sqrt())
    phi = total / (count.clamp(min=1) * (count + smoothing).log())
    phi = torch.where(count > 1, phi, 0.0)
    largest = phi.max()
    phi = torch.where(phi > 0, phi, torch.where(largest > 0, largest, 1.0))
    low, high = torch.quantile(phi, torch.tensor([0.1, 0.9], dtype=phi.dtype, device=phi.device))
    phi = phi.clamp(low, high)
    return temperature * phi / phi.mean().clamp(min=torch.finfo(phi.dtype).tiny)
