"""What is shown to people: the best items for each of any number of queries."""

import torch
from torch import Tensor

from recsys.data.ragged import Ragged
from recsys.evaluation.ranking import MEMORY_BUDGET
from recsys.evaluation.topk import best_items
from recsys.models.base import Index, no_items


@torch.no_grad()
def best_lists(
    index: Index,
    user: Tensor,
    history: Ragged,
    k: int,
    *,
    include_seen: bool,
    candidates: Tensor | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> tuple[Tensor, Tensor]:
    """The k best items for each query, both [B, k] on the CPU: scores, falling, and items.

    Equal scores stand in the order of items; NaN never ranks. Where a list ends early, since no more is unseen, scores
    are -inf. Scores of so many queries are held at a time as take `memory_budget` bytes.

    user: [B] on the index's device; history: B rows on the CPU, which are left out unless `include_seen`; candidates:
    [C] the items that may be shown, None for all.
    """
    num_items = len(index.items)
    hidden = torch.zeros(num_items, dtype=torch.bool)
    if candidates is not None:
        hidden.fill_(True)[candidates] = False
    found = []
    for rows in torch.arange(len(user)).split(max(1, memory_budget // (4 * num_items))):
        seen = history.take(rows)
        latest = seen.last(index.length) if index.length else seen
        scores = index.score(user[rows.to(user.device)], latest.to(user.device)).float().cpu()
        scores.masked_fill_(scores.isnan() | hidden, -torch.inf)
        if not include_seen:
            scores[seen.row, seen.values] = -torch.inf
        items, _ = best_items(scores, k, no_items(len(rows), scores.device))
        ended = items == num_items
        found.append((scores.gather(1, items.masked_fill(ended, 0)).masked_fill_(ended, -torch.inf), items))
    scores, items = (torch.cat(parts) for parts in zip(*found, strict=True))
    return scores, items
