"""Optimal transport with an entropy: assignments in equal shares, and one cloud of points moved onto another."""

from math import log

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.ops import full_precision


@torch.no_grad()
def balanced_assignment(scores: Tensor, *, temperature: float = 0.05, n_iter: int = 10) -> Tensor:
    r"""Shares of N rows in K clusters, all clusters alike large: [N, K] -> [N, K] (Sinkhorn; SwAV, BECLR).

    Starts from $e^{s / t}$ and makes columns sum to N / K and rows to 1, in turn; rows sum to 1 exactly. `scores` are
    similarities, larger is nearer: distances must be negated. In logarithms, so that no temperature overflows.
    """
    if not temperature > 0:
        raise InputError(f"temperature must be above 0, got {temperature}.")
    share = full_precision(scores) / temperature
    for _ in range(n_iter):
        share = share - share.logsumexp(0, keepdim=True) + log(len(share) / share.shape[1])
        share = share - share.logsumexp(1, keepdim=True)
    return share.exp()


@torch.no_grad()
def transported(
    source: Tensor, target: Tensor, *, regularization: float = 0.05, tolerance: float = 1e-4, max_iter: int = 1000
) -> Tensor:
    """`source` [K, d] moved onto the cloud `target` [M, d]: each point becomes the mean of where its mass goes.

    The plan is least in squared distance over its maximum, plus `regularization` times the entropy, every point of a
    cloud weighing the same. It ends when the sum of changes of the source's potentials falls below `tolerance` (OpTA;
    Poulakakis-Daktylidis and Jamali-Rad, ICLR 2024).

    Raises:
        InputError: the regularization is not above 0, or a point is not finite.
    """
    if not regularization > 0:
        raise InputError(f"regularization must be above 0, got {regularization}.")
    for name, points in (("source", source), ("target", target)):
        if not bool(points.isfinite().all()):
            raise InputError(f"transported: the points of the {name} contain NaN or infinity")
    source, target = full_precision(source), full_precision(target)
    cost = torch.cdist(source, target, compute_mode="donot_use_mm_for_euclid_dist").square()
    cost = cost / cost.max().clamp(min=torch.finfo(cost.dtype).tiny) / regularization
    left, right = cost.new_zeros(len(source), 1), cost.new_zeros(1, len(target))
    for _ in range(max_iter):
        before = left
        left = -log(len(source)) - (right - cost).logsumexp(1, keepdim=True)
        right = -log(len(target)) - (left - cost).logsumexp(0, keepdim=True)
        if regularization * float((left - before).abs().sum()) < tolerance:
            break
    return (left + right - cost).softmax(1) @ target
