"""Full ranking: every user of the truth, every candidate item, within a bounded memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from graphcl.errors import InputError
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.evaluation.topk import best_items
from recsys.models.base import Index, no_items

MEMORY_BUDGET = 256 * 2**20
CACHE = 16 * 2**20
"""Bytes of scores that a CPU ranks at a time: much larger tiles leave the cache, smaller ones have too many steps."""
LINE = 16
"""Numbers in a cache line, in single precision."""
QUERY_ROWS = 2048
"""Queries asked at a time: enough for an encoder to sort its histories by length."""

Repeats = Literal["masked", "candidates"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranking:
    """The lists that a model shows, and all that metrics need to judge them."""

    users: Tensor
    """[U] the users with at least one true item, rising."""
    items: Tensor
    """[U, k] the best items, best first; `num_items` where fewer than k candidates were left."""
    hit: Tensor
    """[U, k] bool, which of them are true."""
    relevant: Tensor
    """[U] how many distinct true items each user has; those that were masked or are no candidates count as well."""
    num_items: int
    k: int
    mask_history: bool
    repeats: Repeats
    """What masking does to a true item that the user has seen before."""
    num_candidates: int
    """Items that could be ranked at all, before any history is masked."""
    cold_users: int
    """Users without a seen event; the model answered them with an empty history."""
    cold_items: int
    """Distinct true items without a seen event; they stay candidates and stay in the truth."""
    negatives: int | None = None
    """Sampled negatives per user; None is a full ranking."""

    @property
    def protocol(self) -> dict[str, str]:
        """What a table says beside its numbers."""
        history = {"masked": "masked", "candidates": "masked, true items excepted"}[self.repeats]
        sampled = f"true items and {self.negatives} sampled negatives"
        return {
            "history": history if self.mask_history else "not masked",
            "candidates": sampled if self.negatives else f"{self.num_candidates:,} of {self.num_items:,} items",
            "ties": "against the model",
            "users": f"{self.users.numel():,}, of whom {self.cold_users:,} were never seen",
            "unseen true items": f"{self.cold_items:,}",
        }


@torch.no_grad()
def rank(
    index: Index,
    seen: Interactions,
    truth: Interactions,
    k: int,
    *,
    mask_history: bool,
    repeats: Repeats = "masked",
    candidates: Tensor | None = None,
    memory_budget: int = MEMORY_BUDGET,
    device: torch.device | str | None = None,
) -> Ranking:
    """Rank all items for every user of `truth`.

    `seen` holds all events before `truth` (train for valid, train and valid for test): a user's query reads his last
    `index.length` items from it, and with `mask_history` none of his items in it is shown to him again.

    A true item that the user has seen before (a repeat) is masked like any other and is then a miss that still counts
    in the denominators: the list really shown is judged. That is the rule of ICSRec, CoSeRec and DCCF. RecBole's
    general models leave exactly the true repeats among the candidates, which reveals the answer to the list; ask for
    it by `repeats="candidates"`. Where people do come back to items (Yelp: 7 % of the test answers), rank with
    `mask_history=False`, as RecBole's sequential models do.

    Ties count against the model: a true item ranks behind every other item of equal score. A NaN score never ranks.
    `candidates` [C] are the item ids that may be shown, all by default. Scores take at most about `memory_budget`
    bytes at a time. `device` is where queries are sent, by default where `index.items` lies.
    """
    device = torch.device(device or index.items.device)
    rows = truth_of(truth, seen, k)
    users = rows.lengths.nonzero().squeeze(1)
    excluded = _excluded(candidates, truth.num_items).to(device)

    def hide(scores: Tensor, tile: Tensor) -> None:
        if excluded.numel():
            scores.index_fill_(1, excluded, -torch.inf)
        if mask_history:
            mask(scores, seen.histories.take(tile), rows.take(tile) if repeats == "candidates" else None)

    lists = [
        best_items(scores, k, rows.take(tile).to(device))
        for tile, scores in score_tiles(index, seen, users, hide, memory_budget, device)
    ]
    return Ranking(
        users=users,
        items=torch.cat([items for items, _ in lists]).cpu(),
        hit=torch.cat([hit for _, hit in lists]).cpu(),
        relevant=rows.lengths[users],
        num_items=truth.num_items,
        k=k,
        mask_history=mask_history,
        repeats=repeats,
        num_candidates=truth.num_items - excluded.numel(),
        **cold(seen, users, rows),
    )


def truth_of(truth: Interactions, seen: Interactions, k: int) -> Ragged:
    """[all users] rows of distinct true items, rising; checks that the request makes sense."""
    if (seen.num_users, seen.num_items) != (truth.num_users, truth.num_items):
        raise InputError(f"seen is {seen!r} but truth is {truth!r}; take both from one split")
    if not 1 <= k <= truth.num_items:
        raise InputError(f"k is {k}, but the catalogue has {truth.num_items} items; choose k in 1..{truth.num_items}")
    if not len(truth):
        raise InputError("the truth holds no event, so that nobody can be evaluated; check the split")
    pair = torch.unique(truth.user * truth.num_items + truth.item)
    return Ragged.group(pair // truth.num_items, pair % truth.num_items, truth.num_users)


def score_tiles(
    index: Index,
    seen: Interactions,
    users: Tensor,
    hide: Callable[[Tensor, Tensor], None],
    memory_budget: int,
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Users [T] and their scores [T, I] after `hide`, tile by tile; a tile lives until the next is asked for."""
    inner_product = type(index).score is Index.score
    num_items, size = seen.num_items, index.items.element_size()
    room = min(memory_budget // 4, CACHE) if device.type == "cpu" else memory_budget // 4
    height = max(1, room // (num_items * size))
    # a matrix product is up to twice as fast where rows begin at a cache line
    line = -(-num_items // LINE) * LINE
    buffer = index.items.new_empty(min(height, users.numel()) if inner_product else 0, line)[:, :num_items]
    for chunk in users.split(max(QUERY_ROWS, height) if inner_product else height):
        history = recent(seen, chunk, index.length).to(device)
        if not inner_product:
            scores = index.score(chunk.to(device), history)
            hide(scores, chunk)
            yield chunk, scores
            continue
        queries = index.ask(chunk.to(device), history)
        for tile, query in zip(chunk.split(height), queries.split(height), strict=True):
            scores = torch.mm(query, index.items.T, out=buffer[: tile.numel()])
            hide(scores, tile)
            yield tile, scores


def recent(seen: Interactions, users: Tensor, length: int) -> Ragged:
    """The latest `length` items of each user; where a model reads none, nobody's are collected."""
    return seen.histories.take(users).last(length) if length else no_items(len(users), users.device)


def mask(scores: Tensor, history: Ragged, keep: Ragged | None = None) -> None:
    """Write -inf to the columns of each row's history, those in the same row of `keep` excepted."""
    hidden = history.row.to(scores.device), history.values.to(scores.device)
    kept = () if keep is None else (keep.row.to(scores.device), keep.values.to(scores.device))
    before = scores[kept] if kept else None
    scores[hidden] = -torch.inf
    if before is not None:  # cheaper than looking for what both have
        scores[kept] = before


def cold(seen: Interactions, users: Tensor, rows: Ragged) -> dict[str, int]:
    """How many of the users, and of the distinct true items, have no seen event."""
    known = torch.zeros(seen.num_items, dtype=torch.bool)
    known[seen.item] = True
    strangers = rows.values[~known[rows.values]]
    return {
        "cold_users": int((seen.histories.lengths[users] == 0).sum()),
        "cold_items": strangers.unique().numel(),
    }


def _excluded(candidates: Tensor | None, num_items: int) -> Tensor:
    """[E] the items that are no candidates."""
    if candidates is None:
        return torch.empty(0, dtype=torch.long)
    wrong = candidates[(candidates < 0) | (candidates >= num_items)]
    if not candidates.numel() or wrong.numel():
        what = f"hold {int(wrong[0])}" if wrong.numel() else "are empty"
        raise InputError(f"candidates {what}; give item ids in 0..{num_items - 1}")
    out = torch.ones(num_items, dtype=torch.bool)
    out[candidates.cpu()] = False
    return out.nonzero().squeeze(1)
