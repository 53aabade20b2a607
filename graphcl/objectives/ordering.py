"""Group ordering: all positives before all negatives, by a differentiable sort (Shvetsova et al., ICCV 2023)."""

from collections.abc import Sequence
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.finite import finite
from graphcl.objectives.kernel import blocks
from graphcl.objectives.pairing import same_rows
from graphcl.objectives.tables import tables

_ROWS = 1024
"""Anchors whose nearest rows are looked for at a time: [1024, N] similarities are held."""


def group_ordering(
    views: Sequence[Tensor], *, n_negatives: int = 10, steepness: float = 1.0, detach_candidates: bool = True
) -> Tensor:
    """GroCo: the cross-entropy between where a soft sort puts each candidate and the group that it belongs to.

    Of each row of each view the candidates are the same row in the other views (positives) and the `n_negatives` most
    similar other rows of its own view, by cosine. `soft_sort` of both groups gives every candidate the chance to end
    among the positives; binary cross-entropy against its group, mean over candidates, rows and views. Where no gradient
    flows into candidates, rows learn as anchors alone. Even a perfect order has a loss, the smaller the greater
    `steepness`. `views` are two or more [N, d]. O(N n^3) memory for n candidates.

    Raises:
        InputError: there are fewer than two views, too few rows for so many negatives, views that differ in their rows,
            or rows that are not finite.
    """
    if len(views) < 2:
        raise InputError("Group ordering needs at least two views: the others are the positives.")
    if not 0 < n_negatives < len(views[0]):
        raise InputError(
            f"n_negatives must be between 1 and {len(views[0]) - 1}, one fewer than rows; got {n_negatives}."
        )
    given = tables(*views)
    for view in given[1:]:
        same_rows(given[0], view)
    with torch.autocast(views[0].device.type, enabled=False):
        z = [F.normalize(view, dim=1) for view in given]
        for view, rows in zip(z, views, strict=True):
            finite(view.detach(), the_rows_of_a_view=rows)
        candidates = [view.detach() for view in z] if detach_candidates else z
        losses = []
        for number, anchor in enumerate(z):
            others = [candidate for k, candidate in enumerate(candidates) if k != number]
            positive = torch.stack([(anchor * other).sum(1) for other in others], 1)
            nearest = _nearest_others(anchor.detach(), n_negatives)
            negative = (anchor.unsqueeze(1) * candidates[number][nearest]).sum(2)
            losses.append(_misplaced(negative, positive, steepness))
        return finite(torch.stack(losses).mean(), the_first_view=views[0])


def soft_sort(values: Tensor, steepness: float) -> Tensor:
    r"""[..., n] -> [..., n, n]: the chance that element r ends at place c in ascending order; rows, columns sum to 1.

    An odd-even network of n layers; neighbours a, b change places by $\alpha = \arctan(\beta (b - a)) / \pi + 1/2$, the
    chance that they stand right (Petersen et al., ICML 2021 and ICLR 2022).
    """
    size = values.shape[-1]
    places = torch.eye(size, dtype=values.dtype, device=values.device).expand(*values.shape, size)
    for layer in range(size):
        first = slice(layer % 2, size - 1, 2)
        second = slice(layer % 2 + 1, size, 2)
        right = torch.atan(steepness * (values[..., second] - values[..., first])) / pi + 0.5
        values = _exchange(values, first, second, right)
        places = _exchange(places, first, second, right.unsqueeze(-2))
    return places


def _exchange(table: Tensor, first: slice, second: slice, right: Tensor) -> Tensor:
    """Neighbours along the last axis, mixed: they stay with the weight `right`."""
    low, high = table[..., first], table[..., second]
    mixed = table.clone()
    mixed[..., first] = right * low + (1 - right) * high
    mixed[..., second] = (1 - right) * low + right * high
    return mixed


def _misplaced(negative: Tensor, positive: Tensor, steepness: float) -> Tensor:
    ordered = torch.cat([negative.sort(1).values, positive.sort(1).values], 1)
    count = negative.shape[1]
    among = soft_sort(ordered, steepness)[..., count:].sum(-1).clamp(0, 1)
    wanted = (torch.arange(ordered.shape[1], device=ordered.device) >= count).to(among)
    return F.binary_cross_entropy(among, wanted.expand_as(among))


def _nearest_others(x: Tensor, count: int) -> Tensor:
    """[N, count] the most similar other rows of each row of length one."""
    found = []
    for rows in blocks(len(x), _ROWS):
        similarity = x[rows] @ x.T
        similarity.diagonal(rows.start).fill_(-torch.inf)
        found.append(similarity.topk(count, dim=1).indices)
    return torch.cat(found)
