"""Who is served, and with what: a ranking's metrics by activity of users and by popularity of items.

Both are counted in training events, and equals stay together, so that no draw and no order of ids decides:

- a user belongs to quarter floor(4 s), s the share of the ranked users who have fewer events than he: quarter 1 is the
  least active. Where many users are alike (5-core data), quarters are of unequal size and some may be empty.
- an item belongs to third floor(3 s), s the share of all events that fall on items with more events than it has:
  "head", "middle", "tail". Items without an event are in the tail. A third of the events each, about, so that whoever
  recommends in proportion to the events shows a third of each.

Of a quarter of the users the metrics are means over its users, as everywhere. Of a third of the items:

- recall@K = hits on its items / true (user, item) pairs with its items, over all users together
- hits@K = its share of all hits;   shown@K = its share of all places that are filled
- truth = its share of the true pairs

Empty quarters are left out, and ratios of nothing.
"""

from collections.abc import Iterator, Sequence
from math import isnan

import torch
from torch import Tensor

from recsys.data.interactions import Interactions, Split
from recsys.evaluation.metrics import parse, per_user
from recsys.evaluation.ranking import Ranking

QUARTERS = tuple(f"users {number}/4" for number in range(1, 5))
THIRDS = tuple(f"items {name}" for name in ("head", "middle", "tail"))

Slices = dict[str, dict[str, float]]
"""Slice -> what is measured of it -> value."""


def slices(ranking: Ranking, split: Split, names: Sequence[str]) -> Slices:
    """The test part's slices; `ranking` is of `split.test`, `names` are metrics that have a value per user."""
    return user_slices(ranking, split.train, names) | item_slices(ranking, split.train, split.test, names)


def user_slices(ranking: Ranking, train: Interactions, names: Sequence[str]) -> Slices:
    """Each metric of each quarter of the users, with `users`, and its fewest and most training events."""
    events = torch.bincount(train.user, minlength=train.num_users)[ranking.users]
    quarter = quarter_of(events)
    values = per_user(ranking, names, item_counts=train.item_counts)
    found: Slices = {}
    for number, name in enumerate(QUARTERS):
        member = quarter == number
        if bool(member.any()):
            found[name] = {
                "users": float(member.sum()),
                "fewest": float(events[member].min()),
                "most": float(events[member].max()),
                **{str(metric): float(mean) for metric, mean in values[member.numpy()].mean().items()},
            }
    return found


def item_slices(ranking: Ranking, train: Interactions, truth: Interactions, names: Sequence[str]) -> Slices:
    """What each third of the items is shown, hit and missed, at each length of list that `names` speak of."""
    third = third_of(train.item_counts)
    pair = torch.unique(truth.user * truth.num_items + truth.item)
    true = count(third[pair % truth.num_items])
    found = {
        name: {"items": float(items), "truth": float(share)}
        for name, items, share in zip(THIRDS, count(third), true / true.sum(), strict=True)
    }
    for k in sorted({parse(name)[1] for name in names}):
        places = ranking.items[:, :k]
        shown, hits = (count(third[places[chosen]]) for chosen in (places < ranking.num_items, ranking.hit[:, :k]))
        for name, metrics in zip(THIRDS, ratios(shown, hits, true), strict=True):
            found[name] |= {f"{metric}@{k}": value for metric, value in metrics.items() if not isnan(value)}
    return found


def ratios(shown: Tensor, hits: Tensor, true: Tensor) -> Iterator[dict[str, float]]:
    """Of each third: recall, share of the hits, share of the places; NaN where nothing is divided by nothing."""
    columns = {"recall": hits / true, "hits": hits / hits.sum(), "shown": shown / shown.sum()}
    for number in range(len(THIRDS)):
        yield {name: float(column[number]) for name, column in columns.items()}


def count(third: Tensor) -> Tensor:
    """[3] how often each third occurs."""
    return torch.bincount(third, minlength=len(THIRDS)).double()


def quarter_of(events: Tensor) -> Tensor:
    """[U] 0..3: the quarter of users with `events` [U]."""
    fewer = torch.searchsorted(events.sort().values, events)
    return 4 * fewer // max(1, events.numel())


def third_of(counts: Tensor) -> Tensor:
    """[I] 0..2: the third of items with `counts` [I] events."""
    rising = counts.sort().values
    total = rising.cumsum(0)
    upto = total[torch.searchsorted(rising, counts, right=True) - 1]
    return (3 * (total[-1] - upto) // total[-1].clamp(min=1)).clamp(max=len(THIRDS) - 1).masked_fill(counts == 0, 2)
