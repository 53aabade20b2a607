"""The best k of many, exactly, with ties settled against the model."""

import math

import numpy as np
import torch
from torch import Tensor

from recsys.data.ragged import Ragged, offsets_of

BRANCHING = 8
"""How many columns share one maximum; measured on 12,000 columns, 4 to 16 are equally good."""
SHORT = 4096
"""Rows of so many columns are read twice by `above_threshold` on a CPU, which takes half the time of a search."""


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest values of each row and their columns, both [B, k], values falling; `scores` is [B, n].

    As `torch.topk`, but most columns are only read once: the k largest of a row lie in the k blocks of columns with
    the largest maxima, so that a short search over the maxima replaces the long one. Among equal values that compete
    for the last places the choice is arbitrary (as in `torch.topk`).
    """
    num_columns = scores.shape[1]
    if num_columns <= SHORT and scores.device.type == "cpu" and scores.element_size() >= 4:
        found = above_threshold(scores, k)
        if found is not None:
            return found
    if num_columns < 2 * BRANCHING * k:
        return scores.topk(k)
    maxima = block_maxima(scores, BRANCHING)
    blocks = maxima.shape[1]
    chosen = largest(maxima, k)[1]
    steps = torch.arange(math.ceil(num_columns / blocks), device=scores.device) * blocks
    columns = (chosen.unsqueeze(2) + steps).flatten(1)
    outside = columns >= num_columns
    columns = columns.masked_fill_(outside, 0)
    values, position = scores.gather(1, columns).masked_fill_(outside, lowest(scores.dtype)).topk(k)
    if num_columns % blocks and bool((values[:, -1] == lowest(scores.dtype)).any()):
        return scores.topk(k)  # a place outside may have won against hidden ones, and column 0 would be there twice
    return values, columns.gather(1, position)


def block_maxima(scores: Tensor, height: int) -> Tensor:
    """[B, n] -> [B, ceil(n / height)] the maxima of blocks of columns.

    Block b holds the columns b, b + blocks, b + 2 blocks, ...: the maximum runs along contiguous memory.
    """
    num_columns = scores.shape[1]
    blocks = math.ceil(num_columns / height)
    height, rest = divmod(num_columns, blocks)
    whole = num_columns - rest
    maxima = scores[:, :whole].unflatten(1, (height, blocks)).amax(1)
    torch.maximum(maxima[:, :rest], scores[:, whole:], out=maxima[:, :rest])
    return maxima


def above_threshold(scores: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
    """As `largest`, by sorting what reaches the k-th largest of the maxima of blocks: hardly more than k columns.

    None where that is no help: fewer than 2 k blocks, NaN, or many equal values.
    """
    num_rows, num_columns = scores.shape
    maxima = block_maxima(scores, 2 * BRANCHING)
    place = maxima.shape[1] - k
    if place < k or bool(maxima.isnan().any()):  # NaN must come out on top, where it is noticed
        return None
    least = np.partition(maxima.numpy(), place, axis=1)[:, place, None]
    found = torch.from_numpy(np.flatnonzero(scores.numpy() >= least))
    row = found // num_columns
    counts = torch.bincount(row, minlength=num_rows)
    width = int(counts.max())
    if int(counts.min()) < k or width > num_columns // 4:
        return None
    slot = torch.arange(len(found)) + (torch.arange(num_rows) * width - offsets_of(counts)[:-1])[row]
    column = found - row * num_columns
    values = scores.new_full((num_rows * width,), lowest(scores.dtype))
    values[slot] = scores[row, column]
    columns = torch.zeros(num_rows * width, dtype=torch.long)
    columns[slot] = column
    best, position = values.view(num_rows, width).topk(k)
    return best, columns.view(num_rows, width).gather(1, position)


def lowest(dtype: torch.dtype) -> float:
    """A value that nothing undercuts."""
    return -torch.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def best_items(scores: Tensor, k: int, relevant: Ragged) -> tuple[Tensor, Tensor]:
    """The best k items of each row [B, k] and which of them are relevant [B, k].

    The order is total: higher score first; among equal scores irrelevant items before relevant ones (a model gains
    nothing by not deciding), then smaller ids first. NaN and -inf never rank: the list is then short, its free places
    hold `scores.shape[1]`.

    scores: [B, I], overwritten where NaN; relevant: B rows of distinct items in rising order.
    """
    num_rows, num_items = scores.shape
    values, items = largest(scores, min(k + 1, num_items))
    if bool(values[:, 0].isnan().any()):  # torch takes NaN for the largest number, so that it can not hide
        scores.masked_fill_(scores.isnan(), -torch.inf)
        values, items = largest(scores, min(k + 1, num_items))
    rivals = values[:, k] == values[:, k - 1] if num_items > k else values.new_zeros(num_rows, dtype=torch.bool)
    rivals &= values[:, k - 1] > -torch.inf
    tied = bool((values[:, 1:] == values[:, :-1]).any())
    values, items = values[:, :k].contiguous(), items[:, :k].contiguous()
    if bool(rivals.any()):
        row = rivals.nonzero().squeeze(1)
        items[row] = _settle(scores[row], values[row, -1:], k, relevant.take(row))
        values[row] = scores[row].gather(1, items[row])
    hit = _contains(relevant, items, num_items)
    if tied:
        order = _order(values, hit, items)
        values, items, hit = values.gather(1, order), items.gather(1, order), hit.gather(1, order)
    absent = values == -torch.inf
    return items.masked_fill_(absent, num_items), hit & ~absent


def _settle(scores: Tensor, last: Tensor, k: int, relevant: Ragged) -> Tensor:
    """[T, k] the items above the value `last` [T, 1] and, of those equal to it, as many as there is room for."""
    num_items = scores.shape[1]
    key = torch.arange(num_items, 0, -1, device=scores.device, dtype=torch.int32).repeat(len(scores), 1)
    irrelevant = torch.ones_like(scores, dtype=torch.bool)
    irrelevant[relevant.row, relevant.values] = False
    key += num_items * irrelevant
    key += 2 * num_items * (scores > last)
    return largest(key.masked_fill_(scores < last, 0), k)[1]


def _contains(rows: Ragged, items: Tensor, num_items: int) -> Tensor:
    """[B, k] whether row b of `rows` holds `items[b, j]`; rows are sorted."""
    if not rows.values.numel():
        return torch.zeros_like(items, dtype=torch.bool)
    known = rows.row * num_items + rows.values
    asked = items + torch.arange(len(items), device=items.device).unsqueeze(1) * num_items
    place = torch.searchsorted(known, asked).clamp_(max=known.numel() - 1)
    return known[place] == asked


def _order(values: Tensor, hit: Tensor, items: Tensor) -> Tensor:
    """[B, k] the permutation of each row: values falling, then misses before hits, then ids rising."""
    order = items.argsort(dim=1, stable=True)
    order = order.gather(1, hit.gather(1, order).to(torch.uint8).argsort(dim=1, stable=True))
    return order.gather(1, values.gather(1, order).argsort(dim=1, descending=True, stable=True))
