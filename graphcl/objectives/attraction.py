"""Contrastive attraction and repulsion: pairs weigh by how much they need it (Zheng et al., arXiv 2105.03746)."""

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.finite import finite
from graphcl.objectives.kernel import row_lse
from graphcl.objectives.pairing import same_rows
from graphcl.objectives.pairwise import pair_sum
from graphcl.objectives.similarity import negative_squared_distance
from graphcl.objectives.tables import refuse_temperature, tables
from graphcl.objectives.weights import Exclude


def attraction_repulsion(
    views: Sequence[Tensor], *, attraction: float = 1.0, repulsion: float = 0.9, debias: float = 0.0
) -> Tensor:
    r"""CACR: views of a row attract the more, the farther they are; other rows repel the more, the nearer they are.

    Attraction: mean over views x and rows i of $\sum_{k \ne x} w_k |z_i^x - z_i^k|^2$, w = softmax(`attraction` times
    the distances). Repulsion: minus the mean over pairs of views x < y and rows i of
    $\sum_{j \ne i} w_{ij} |z_i^x - z_j^y|^2$, w = softmax(-`repulsion` times the distances), streamed. Gradients flow
    through the weights; 0 makes them equal. `debias` is the share $\pi$ of rows j that are thought to be like i: with
    R the repulsion and D the mean distance of two views of a row it becomes $(R - \pi D) / (1 - \pi)$, as published.
    As R is minus a distance, this pushes the views of a row apart by $\pi / (1 - \pi)$; to take the distance of like
    rows out of what is repelled would need a plus. `views` are two or more [N, d]; give rows of length one, nothing
    bounds others.

    Raises:
        InputError: there are fewer than two views or rows, views differ in their rows, or the share is not below 1.
    """
    if len(views) < 2 or len(views[0]) < 2:
        raise InputError("Attraction and repulsion need at least two views of at least two rows.")
    z = tables(*views)
    for view in z[1:]:
        same_rows(z[0], view)
    if not 0 <= debias < 1:
        raise InputError(f"debias is a share from 0 to below 1, got {debias}.")
    with torch.autocast(z[0].device.type, enabled=False):
        pull = torch.stack([_attraction(z, number, attraction) for number in range(len(z))]).mean()
        pairs = list(combinations(z, 2))
        push = torch.stack(
            [expected_similarity(*negative_squared_distance(a, b), repulsion).mean() for a, b in pairs]
        ).mean()
        if debias:
            near = torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).mean()
            push = (push - debias * near) / (1 - debias)
        return finite(pull + push, the_first_view=views[0])


def attraction_repulsion_to_keys(queries: Sequence[Tensor], keys: Tensor, *, temperature: float = 0.2) -> Tensor:
    r"""CACR beside a momentum encoder: cosines, and weights that are constants.

    Sum over rows i of $\sum_v p_v [(1 - \cos(q_i^v, k_i)) - \sum_{j \ne i} w_{ij} (1 - \cos(q_i^v, k_j))]$, p = softmax
    over the views of $|q_i^v - k_i|^2 / T$, w = softmax of the cosines over T. `queries` are views [N, d]; `keys`
    [N, d] is detached. Divide by N for a mean.

    Raises `InputError` where there is no view, a view has other rows than the keys, or the temperature is not above 0.
    """
    if not queries:
        raise InputError("Attraction and repulsion need at least one view of queries beside the keys.")
    refuse_temperature(temperature)
    *views, key = (F.normalize(table, dim=1) for table in tables(*queries, keys))
    for view in views:
        same_rows(view, key)
    key = key.detach()
    with torch.autocast(key.device.type, enabled=False):
        near = torch.stack([(view * key).sum(1) for view in views])
        share = (2 * (1 - near.detach()) / temperature).softmax(0)
        others = [expected_similarity(view, key, 1 / temperature, detach_weights=True) for view in views]
        return finite((share * (torch.stack(others) - near)).sum(), the_first_view=queries[0], the_keys=keys)


def expected_similarity(x: Tensor, y: Tensor, sharpness: float, *, detach_weights: bool = False) -> Tensor:
    r"""$\sum_{j \ne i} p_{ij} s_{ij}$ with $s = x y^\top$ and p = softmax over j of `sharpness` times s: [N], streamed.

    `x` and `y` [N, d]; gradients flow through p unless `detach_weights`.
    """
    own = torch.arange(len(x), device=x.device)
    level = row_lse(sharpness * x, y, terms=(Exclude(own),))
    constant = level.detach()

    def value(logits: Tensor, rows: slice, cols: slice) -> Tensor:
        scaled = sharpness * (logits.detach() if detach_weights else logits) - constant[rows, None]
        # Left out before the exponential: of an infinite one, no zero afterwards would mend the gradient.
        return scaled.masked_fill(own[rows, None] == own[cols], -torch.inf).exp() * logits

    expected = pair_sum(x, y, value)
    # The sum takes the log-sum-exp for a constant: what flows through it comes back here, with a value of zero.
    return expected if detach_weights else expected - expected.detach() * (level - constant)


def _attraction(z: Sequence[Tensor], number: int, sharpness: float) -> Tensor:
    cost = torch.stack([(z[number] - other).square().sum(1) for k, other in enumerate(z) if k != number])
    return ((sharpness * cost).softmax(0) * cost).sum(0).mean()
