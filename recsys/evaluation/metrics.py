"""What a ranking is worth: pure functions of hits and ranks.

With h the hits in the first K places, R the true items of a user and g_i = 1 where place i is a hit:

- recall = h / |R| (not over min(K, |R|));   precision = h / K;   hit = [h > 0]
- ndcg = DCG / ideal DCG with DCG = sum of g_i / log2(i + 1), the ideal over min(K, |R|) places
- mrr = 1 / place of the first hit, 0 without one
- map = sum of g_i * precision at i, over min(K, |R|)

Each is the mean over the users who have at least one true item. These are RecBole's definitions. Of the lists as such:

- coverage = distinct items shown / candidates
- gini = inequality of how often each candidate is shown, 0 all alike, towards 1 one item everywhere
- popularity = mean number of training events of the items shown
"""

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor

from graphcl.errors import InputError, suggest
from recsys.evaluation.ranking import Ranking


def recall(hit: Tensor, relevant: Tensor) -> Tensor:
    """[U] share of the true items that are in the list; hit [U, K], relevant [U]."""
    return hit.sum(1) / relevant


def precision(hit: Tensor, relevant: Tensor) -> Tensor:
    """[U] share of the K places that are hits."""
    return hit.sum(1) / torch.tensor(hit.shape[1], dtype=torch.float64)


def any_hit(hit: Tensor, relevant: Tensor) -> Tensor:
    """[U] 1 where the list has a hit."""
    return hit.any(1).double()


def ndcg(hit: Tensor, relevant: Tensor) -> Tensor:
    """[U] discounted gain over that of a list that begins with the true items."""
    k = hit.shape[1]
    discount = torch.arange(2, k + 2, dtype=torch.float64).log2().reciprocal()
    return (hit * discount).sum(1) / discount.cumsum(0)[relevant.clamp(max=k) - 1]


def mrr(hit: Tensor, relevant: Tensor) -> Tensor:
    """[U] reciprocal place of the first hit."""
    return hit.any(1) / (hit.double().argmax(1) + 1).double()


def average_precision(hit: Tensor, relevant: Tensor) -> Tensor:
    """[U] precision at each hit, summed, over min(K, true items)."""
    k = hit.shape[1]
    at = hit.cumsum(1) / torch.arange(1, k + 1, dtype=torch.float64)
    return (hit * at).sum(1) / relevant.clamp(max=k)


PER_USER: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "recall": recall,
    "ndcg": ndcg,
    "hit": any_hit,
    "mrr": mrr,
    "map": average_precision,
    "precision": precision,
}
OF_LISTS = ("coverage", "gini", "popularity")
LARGER_IS_BETTER = (*PER_USER, "coverage")
ELSEWHERE = {"hr": "hit", "hitrate": "hit", "hit_rate": "hit", "prec": "precision", "itemcoverage": "coverage"}
"""What other libraries call these metrics."""
SAMPLED = "sampled_"
"""Prefix of metrics of a ranking among sampled negatives: they estimate something else and never share a column."""


def parse(name: str) -> tuple[str, int]:
    """`"ndcg@10"` -> `("ndcg", 10)`; raises InputError with the nearest name."""
    kind, _, k = name.strip().lower().partition("@")
    known = (*PER_USER, *OF_LISTS)
    if kind.removeprefix(SAMPLED) not in known:
        elsewhere = {f"{name}@{k or 10}": f"{ours}@{k or 10}" for name, ours in ELSEWHERE.items()}
        near = suggest(f"{kind}@{k or 10}", [f"{one}@{k or 10}" for one in known], elsewhere)
        raise InputError(f"metric {name!r} is unknown{near}")
    if not (k.isascii() and k.isdigit() and int(k) > 0):
        raise InputError(f"metric {name!r} needs a length of list, for example {kind}@10")
    return kind, int(k)


def measure(ranking: Ranking, names: Sequence[str], *, item_counts: Tensor | None = None) -> dict[str, float]:
    """The mean of each metric, by name as given; `item_counts` [I] are training events, for `popularity@K`."""
    return {name: float(_values(ranking, name, item_counts, whole=True).mean()) for name in names}


def per_user(ranking: Ranking, names: Sequence[str], *, item_counts: Tensor | None = None) -> pd.DataFrame:
    """One row a user, one float64 column a metric, indexed by user; coverage and gini have no value per user."""
    columns = {name: _values(ranking, name, item_counts, whole=False).numpy() for name in names}
    return pd.DataFrame(columns, index=pd.Index(ranking.users.numpy(), name="user"))


def _values(ranking: Ranking, name: str, item_counts: Tensor | None, *, whole: bool) -> Tensor:
    """[U] float64 a value per user, or [1] where a metric judges all lists together."""
    kind, k = parse(name)
    if k > ranking.k:
        raise InputError(f"metric {name!r} needs lists of {k}, these have {ranking.k}; rank with k={k}")
    if kind.startswith(SAMPLED) != (ranking.negatives is not None):
        right = kind.removeprefix(SAMPLED) if ranking.negatives is None else SAMPLED + kind
        made = "over all candidates" if ranking.negatives is None else "among sampled negatives"
        raise InputError(f"metric {name!r} does not fit a ranking made {made}; ask for {right}@{k}")
    kind = kind.removeprefix(SAMPLED)
    if kind in PER_USER:
        return PER_USER[kind](ranking.hit[:, :k], ranking.relevant.double() if kind == "recall" else ranking.relevant)
    if kind == "popularity":
        return _popularity(ranking, k, item_counts)
    if not whole:
        raise InputError(f"metric {name!r} judges all lists together and has no value per user")
    return _coverage(ranking, k) if kind == "coverage" else _gini(ranking, k)


def _shown(ranking: Ranking, k: int) -> Tensor:
    """[I] in how many lists each item stands."""
    return torch.bincount(ranking.items[:, :k].flatten(), minlength=ranking.num_items + 1)[: ranking.num_items]


def _coverage(ranking: Ranking, k: int) -> Tensor:
    return ((_shown(ranking, k) > 0).sum() / torch.tensor(ranking.num_candidates, dtype=torch.float64)).unsqueeze(0)


def _gini(ranking: Ranking, k: int) -> Tensor:
    """Gini coefficient of the counts of all candidates, from 0 to 1 - 1 / candidates; 0 where nothing is shown."""
    counts = _shown(ranking, k).sort().values[ranking.num_items - ranking.num_candidates :].double()
    n = counts.numel()
    weight = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    return ((weight * counts).sum() / (n * counts.sum()).clamp(min=1)).unsqueeze(0)


def _popularity(ranking: Ranking, k: int, item_counts: Tensor | None) -> Tensor:
    """Mean over the items shown to a user, 0 for an empty list."""
    if item_counts is None:
        raise InputError("popularity@K needs the training events of each item; pass item_counts")
    counts = torch.cat([item_counts.cpu().double(), torch.zeros(1, dtype=torch.float64)])
    items = ranking.items[:, :k]
    return counts[items].sum(1) / (items < ranking.num_items).sum(1).clamp(min=1)
