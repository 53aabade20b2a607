"""Soft targets from the space of the inputs: views agree as far as what they are views of is near."""

from math import exp, lgamma, pi, sqrt

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.finite import finite
from graphcl.objectives.kernel import TILE_CPU, TILE_GPU, blocks
from graphcl.objectives.pairwise import pair_sum
from graphcl.objectives.similarity import negative_squared_distance
from graphcl.objectives.tables import tables

EPSILON = 1e-12
"""Keeps the logarithms of similarities 0 and 1 finite, as in the authors' code."""


def neighborhood_cross_entropy(
    a: Tensor,
    b: Tensor,
    source: Tensor,
    *,
    source_freedom: float = 100.0,
    freedom: float = 10.0,
    closeness: float = 1e5,
) -> Tensor:
    r"""SAN's soft contrastive loss: cross-entropy of $q_{ij}$ against $p_{ij}$, mean over the $(2 N)^2$ pairs of rows.

    The rows are both views, `a` [N, d] and `b` [N, d], of the inputs `source` [N, f]. With squared distances D,

    $$k_\nu(D) = 6.28\, \gamma_\nu^2\, (1 + D / \nu)^{-(\nu + 1)}, \qquad s = 2 k - k^2,$$

    $\gamma_\nu$ the constant of Student's t, q is s of the views at `freedom` and p is s of the inputs at
    `source_freedom`; a row and itself count 0. A row of `b` is as far from its input as the nearest other input, over
    `closeness`, so that its own target is nearly 1; a damaged view whose input lies among others is pulled less hard
    than by InfoNCE. Distances are not scaled: let features have a variance of about 1. No gradient reaches `source`.

    Zang et al., ICCV 2023. O(N (d + f)) memory; it can be differentiated once.

    Raises `InputError` where shapes disagree, there are fewer than two rows, a constant is not above 0, or the loss is
    not finite.
    """
    for name, constant in (("source_freedom", source_freedom), ("freedom", freedom), ("closeness", closeness)):
        if not constant > 0:
            raise InputError(f"{name} must be above 0, not {constant}.")
    with torch.autocast(a.device.type, enabled=False):
        a, b = tables(a, b, least=2)
        (inputs,) = tables(source.detach(), least=2)
        if not len(a) == len(b) == len(inputs):
            raise InputError(
                f"Row i of both views and of the source belong together, but there are {len(a)}, {len(b)} and "
                f"{len(inputs)} rows."
            )
        rows = torch.cat([a, b])
        left, right = negative_squared_distance(inputs, inputs)
        near = nearest(left, right) / closeness
        far = torch.cat([torch.zeros_like(near), near])
        left, right = left.repeat(2, 1), right.repeat(2, 1)

        def value(logits: Tensor, i: slice, j: slice) -> Tensor:
            distance = squared_distance(left[i], right[j]).add_(far[i, None]).add_(far[j])
            p = 1 - (1 - student(distance, source_freedom)).square()
            apart = (1 - student((-logits).clamp(min=0), freedom)).square()  # 1 - q, to the last digit
            same = torch.arange(i.start, i.stop, device=a.device)[:, None] == torch.arange(
                j.start, j.stop, device=a.device
            )
            p, apart = p.to(apart).masked_fill(same, 0), apart.masked_fill(same, 1)
            return -(p * (1 - apart + EPSILON).log() + (1 - p) * (apart + EPSILON).log())

        total = pair_sum(*negative_squared_distance(rows, rows), value).sum()
        return finite(total / len(rows) ** 2, the_first_view=a, the_second_view=b, the_source=inputs)


def student(distance: Tensor, freedom: float) -> Tensor:
    """The kernel k of squared distances; 6.28 is the authors' 2 * 3.14."""
    constant = exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2)) / sqrt(freedom * pi)
    return 6.28 * constant**2 * (-(freedom + 1) * (distance / freedom).log1p()).exp()


def squared_distance(left: Tensor, right: Tensor) -> Tensor:
    """[r, c] from the tables of `negative_squared_distance`, whose rounding may fall below 0."""
    return (left @ right.T).neg_().clamp_(min=0)


def nearest(left: Tensor, right: Tensor) -> Tensor:
    """[N] the squared distance of each row to the nearest other one; both tables of `negative_squared_distance`."""
    tile = TILE_GPU if left.is_cuda else TILE_CPU
    found = left.new_full((len(left),), torch.inf)
    for i in blocks(len(left), tile[0]):
        for j in blocks(len(right), tile[1]):
            distance = squared_distance(left[i], right[j])
            if i.start < j.stop and j.start < i.stop:
                own = torch.arange(max(i.start, j.start), min(i.stop, j.stop), device=left.device)
                distance[own - i.start, own - j.start] = torch.inf
            found[i] = torch.minimum(found[i], distance.amin(1))
    return found
