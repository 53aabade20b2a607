"""Ranks against a naive oracle, the policy on ties, NaN, masks and short lists, and metrics against other tools."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphcl.errors import InputError
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.evaluation import topk
from recsys.evaluation.ranking import Ranking, rank
from recsys.evaluation.topk import best_items, largest
from recsys.models.base import ENTRIES, Index


def events(pairs: list[tuple[int, int]], num_users: int, num_items: int) -> Interactions:
    table = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    return Interactions(user=table[:, 0], item=table[:, 1], num_users=num_users, num_items=num_items)


def fixed(scores: Tensor) -> Index:
    """Scores of each user as they are."""
    return Index(torch.eye(scores.shape[1], dtype=scores.dtype), lambda user, history: scores[user])


class Given(Index):
    """Scores that no inner product would return unchanged, such as NaN."""

    def score(self, user: Tensor, history: Ragged) -> Tensor:
        return self.query(user, history).clone()


def given_scores(scores: Tensor) -> Index:
    return Given(torch.empty(scores.shape[1], 1), lambda user, history: scores[user])


def expected(scores: list[float], true: set[int], seen: set[int], k: int) -> list[int]:
    """The rule, word for word: falling scores, misses before hits, rising ids; hidden and NaN items never."""
    free = [i for i, s in enumerate(scores) if i not in seen and not math.isnan(s) and s != -math.inf]
    return sorted(free, key=lambda i: (-scores[i], i in true, i))[:k]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Tensor, Interactions, Interactions, int]:
    num_users, num_items = draw(st.integers(1, 6)), draw(st.integers(1, 60))
    seed = draw(st.integers(0, 2**31))
    g = torch.Generator().manual_seed(seed)
    levels = draw(st.sampled_from([1, 2, 5, 1000]))  # few levels make many ties
    scores = torch.randint(levels, (num_users, num_items), generator=g).float()
    scores[torch.rand(scores.shape, generator=g) < draw(st.sampled_from([0.0, 0.3]))] = draw(
        st.sampled_from([math.nan, math.inf, -math.inf])
    )
    pairs = torch.cartesian_prod(torch.arange(num_users), torch.arange(num_items))
    true = pairs[torch.rand(len(pairs), generator=g) < draw(st.sampled_from([0.05, 0.5]))]
    true = torch.cat([true, pairs[:1]])
    seen = pairs[torch.rand(len(pairs), generator=g) < draw(st.sampled_from([0.0, 0.3, 0.95]))]
    k = draw(st.integers(1, num_items))
    seen, truth = (
        Interactions(user=p[:, 0], item=p[:, 1], num_users=num_users, num_items=num_items) for p in (seen, true)
    )
    return scores, seen, truth, k


@settings(deadline=None, max_examples=300)
@given(worlds(), st.booleans(), st.sampled_from(["masked", "candidates"]), st.sampled_from([1, 2000, 2**28]))
def test_lists_follow_the_rule(world, mask_history, repeats, memory_budget):
    scores, seen, truth, k = world
    ranking = rank(
        given_scores(scores), seen, truth, k, mask_history=mask_history, repeats=repeats, memory_budget=memory_budget
    )
    for row, user in enumerate(ranking.users.tolist()):
        true = set(truth.item[truth.user == user].tolist())
        hidden = set(seen.item[seen.user == user].tolist()) if mask_history else set()
        hidden -= true if repeats == "candidates" else set()
        want = expected(scores[user].tolist(), true, hidden, k)
        assert ranking.items[row].tolist() == want + [truth.num_items] * (k - len(want))
        assert ranking.hit[row].tolist() == [i in true for i in want] + [False] * (k - len(want))
        assert ranking.relevant[row] == len(true)


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 40),
    st.integers(1, 3000),
    st.integers(1, 10),
    st.integers(2, 9),
    st.sampled_from([0, 300, 5000]),
    st.sampled_from([0.0, 0.3, 0.95, 0.995]),
    st.integers(0, 2**31),
)
@example(k=12, num_columns=218, levels=1, branching=2, short=0, hidden=0.95, seed=2)
def test_blocked_search_equals_topk(k, num_columns, levels, branching, short, hidden, seed):
    g = torch.Generator().manual_seed(seed)
    scores = torch.randint(4**levels, (3, num_columns), generator=g).float()
    k = min(k, num_columns)
    scores[torch.rand(scores.shape, generator=g) < hidden] = -torch.inf
    before = topk.BRANCHING, topk.SHORT
    topk.BRANCHING, topk.SHORT = branching, short
    try:
        values, columns = largest(scores, k)
        integers = largest(scores.clamp(min=-1).int(), k)[0]
    finally:
        topk.BRANCHING, topk.SHORT = before
    assert torch.equal(values, scores.topk(k).values)
    assert torch.equal(scores.gather(1, columns), values)
    assert all(
        len(set(row[shown].tolist())) == shown.sum() for row, shown in zip(columns, values.isfinite(), strict=True)
    )
    assert torch.equal(integers.float(), values.clamp(min=-1))


def test_of_a_wide_catalogue_with_few_candidates_none_is_shown_twice():
    """Of 5,001 items all but a dozen are hidden, among them item 0."""
    scores = torch.full((50, 5001), -torch.inf)
    shown = torch.stack([torch.randperm(5001, generator=torch.Generator().manual_seed(row))[:12] for row in range(50)])
    shown[:, 0] = 0
    scores.scatter_(1, shown, torch.arange(12.0).flip(0).expand(50, 12).contiguous())
    items, _ = best_items(scores, 20, Ragged.of([[]] * 50))
    assert torch.equal(items[:, :12], shown)
    assert (items[:, 12:] == 5001).all()


def test_nan_among_ties_of_a_short_catalogue_never_ranks():
    """Items 1 and 2 are best alike, item 0 has no score, and all others are hidden."""
    scores = torch.full((1, 100), -torch.inf)
    scores[0, :3] = torch.tensor([torch.nan, 5.0, 5.0])
    scores[0, 50:60] = torch.arange(10.0) / 10
    items, _ = best_items(scores, 1, Ragged.of([[1]]))
    assert items.tolist() == [[2]]


def test_boundary_ties_on_a_wide_catalogue():
    """Constant scores over 5,000 items: no hit until every other item is shown, and smallest ids first."""
    scores = torch.zeros(2, 5000)
    items, hit = best_items(scores, 20, Ragged.of([[0, 3], [4999]]))
    assert items[0].tolist() == [1, 2, *range(4, 22)]
    assert items[1].tolist() == list(range(20))
    assert not hit.any()


def test_inner_product_and_score_agree_in_small_and_large_tiles():
    g = torch.Generator().manual_seed(1)
    user, item = torch.randn(70, 8, generator=g).double(), torch.randn(300, 8, generator=g).double()
    seen = Interactions(
        user=torch.randint(70, (900,), generator=g),
        item=torch.randint(300, (900,), generator=g),
        num_users=70,
        num_items=300,
    )
    truth = seen.take(torch.arange(200))
    index = Index(item, lambda u, history: user[u])
    whole = rank(index, seen, truth, 10, mask_history=False)
    tiled = rank(index, seen, truth, 10, mask_history=False, memory_budget=4 * 300 * 8 * 7)
    scored = rank(given_scores(user @ item.T), seen, truth, 10, mask_history=False)
    assert torch.equal(whole.items, tiled.items) and torch.equal(whole.items, scored.items)


def test_queries_get_the_latest_items_oldest_first_and_cold_users_get_none():
    asked = {}

    def query(user, history):
        for position, one in enumerate(user.tolist()):
            asked[one] = history.values[history.offsets[position] : history.offsets[position + 1]].tolist()
        return torch.zeros(user.numel(), 1)

    seen = Interactions(
        user=torch.tensor([0, 0, 0, 1]),
        item=torch.tensor([3, 1, 2, 4]),
        time=torch.tensor([9, 1, 5, 0]),
        num_users=4,
        num_items=6,
    )
    truth = events([(0, 5), (2, 5), (2, 0)], 4, 6)
    ranking = rank(Index(torch.zeros(6, 1), query, length=2), seen, truth, 3, mask_history=True)
    assert asked == {0: [2, 3], 2: []}
    assert ranking.users.tolist() == [0, 2]
    assert ranking.cold_users == 1
    assert ranking.cold_items == 2  # items 0 and 5
    assert ranking.protocol["users"] == "2, of whom 1 were never seen"


def test_candidates_leave_other_items_out_but_in_the_truth():
    ranking = rank(
        fixed(torch.arange(6.0).repeat(1, 1)),
        events([], 1, 6),
        events([(0, 5), (0, 1)], 1, 6),
        4,
        mask_history=True,
        candidates=torch.tensor([0, 1, 2]),
    )
    assert ranking.items.tolist() == [[2, 1, 0, 6]]
    assert ranking.hit.tolist() == [[False, True, False, False]]
    assert ranking.relevant.tolist() == [2]
    assert ranking.protocol["candidates"] == "3 of 6 items"


def test_duplicate_events_count_once():
    ranking = rank(
        fixed(torch.tensor([[1.0, 2.0]])), events([], 1, 2), events([(0, 1), (0, 1)], 1, 2), 1, mask_history=False
    )
    assert isinstance(ranking, Ranking)
    assert ranking.relevant.tolist() == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 4}, "k is 4, but the catalogue has 3 items"),
        ({"k": 0}, "k is 0"),
        ({"seen": events([], 2, 3)}, "take both from one split"),
        ({"truth": events([], 1, 3)}, "nobody can be evaluated"),
        ({"candidates": torch.tensor([3])}, "candidates hold 3"),
        ({"candidates": torch.tensor([], dtype=torch.long)}, "candidates are empty"),
    ],
)
def test_mistakes_are_named(change, message):
    request = {"seen": events([], 1, 3), "truth": events([(0, 0)], 1, 3), "k": 2} | change
    with pytest.raises(InputError, match=message):
        rank(fixed(torch.zeros(1, 3)), mask_history=False, **request)


def test_many_are_asked_in_parts_of_like_length(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(0)
    rows = [torch.randint(50, (int(n),), generator=g).tolist() for n in torch.randint(0, 9, (300,), generator=g)]
    asked: list[Ragged] = []

    def query(user: Tensor, history: Ragged) -> Tensor:
        asked.append(history)
        sums = torch.zeros(history.num_rows, dtype=torch.long).index_add(0, history.row, history.values)
        return torch.stack([user, sums], 1)

    index, user, history = Index(torch.empty(50, 2), query, length=9), torch.arange(300), Ragged.of(rows)
    whole = index.ask(user, history)
    monkeypatch.setitem(ENTRIES, "cpu", 40)
    assert torch.equal(index.ask(user, history), whole)
    assert whole.tolist() == [[number, sum(row)] for number, row in enumerate(rows)]
    assert len(asked) > 20 and max(part.values.numel() for part in asked[1:]) < 40 + 9
    assert index.ask(user[:0], history.take(user[:0])).shape == (0, 2)
