from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphcl.errors import InputError
from recsys.data.filters import Duplicates, KCore, MinCount, Rating, apply_filters, close_up
from recsys.data.interactions import Interactions

EVENTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=60)


def interactions(rows):
    user, item, time = (torch.tensor([row[k] for row in rows]) for k in range(3))
    names = tuple("abcdefg")
    return Interactions(
        user=user, item=item, time=time, value=time.double(), num_users=7, num_items=7, user_ids=names, item_ids=names
    )


def core(rows, users, items):
    while True:
        u, i = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
        kept = [row for row in rows if u[row[0]] >= users and i[row[1]] >= items]
        if kept == rows:
            return kept
        rows = kept


@given(EVENTS, st.integers(0, 4), st.integers(0, 4))
def test_k_core_is_what_repeated_counting_leaves(rows, users, items):
    kept = interactions(rows).take(KCore(user=users, item=items).mask(interactions(rows)))
    assert list(zip(kept.user.tolist(), kept.item.tolist(), kept.time.tolist(), strict=True)) == core(
        rows, users, items
    )


@given(EVENTS, st.integers(0, 4), st.integers(0, 4))
def test_min_count_counts_once(rows, users, items):
    u, i = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
    wanted = [u[row[0]] >= users and i[row[1]] >= items for row in rows]
    assert MinCount(user=users, item=items).mask(interactions(rows)).tolist() == wanted


@given(EVENTS, st.sampled_from(["first", "last", "all"]))
def test_duplicates_are_told_apart_by_time_then_row(rows, keep):
    order = sorted(range(len(rows)), key=lambda n: (rows[n][2], n))
    chosen = {}
    for n in order if keep == "last" else reversed(order):
        chosen[rows[n][:2]] = n
    wanted = [keep == "all" or chosen[row[:2]] == n for n, row in enumerate(rows)]
    assert Duplicates(keep=keep).mask(interactions(rows)).tolist() == wanted


@given(EVENTS)
def test_closing_up_keeps_names_and_order(rows):
    whole = interactions(rows).take(torch.arange(0, len(rows), 2))
    small = close_up(whole)
    for role in ("user", "item"):
        ids, names = getattr(small, role), getattr(small, f"{role}_ids")
        assert [names[n] for n in ids.tolist()] == [whole.user_ids[n] for n in getattr(whole, role).tolist()]
        assert list(names) == sorted(set(names))
        assert set(ids.tolist()) == set(range(len(names)))
    assert (small.num_users, small.num_items) == (len(small.user_ids), len(small.item_ids))
    assert torch.equal(small.time, whole.time)


def test_ratings_within_bounds():
    rows = [(0, n, n) for n in range(5)]
    assert Rating(at_least=2).mask(interactions(rows)).tolist() == [False, False, True, True, True]
    assert Rating(at_least=1, at_most=3).mask(interactions(rows)).tolist() == [False, True, True, True, False]
    with pytest.raises(InputError, match="needs at_least or at_most"):
        Rating()
    unrated = Interactions(user=torch.tensor([0]), item=torch.tensor([0]), num_users=1, num_items=1)
    with pytest.raises(InputError, match="needs ratings; name the reader's value column"):
        Rating(at_least=1).mask(unrated)


def test_filters_run_in_their_order():
    rows = [(0, 0, 1), (0, 0, 4), (0, 1, 5), (1, 0, 5), (1, 1, 5)]
    first = apply_filters(interactions(rows), [Duplicates(keep="first"), Rating(at_least=4)])
    last = apply_filters(interactions(rows), [Rating(at_least=4), Duplicates(keep="first")])
    assert (len(first), len(last)) == (3, 4)


def test_nothing_left_is_refused_and_no_filter_changes_nothing():
    events = interactions([(0, 0, 1), (1, 1, 1)])
    assert apply_filters(events, []) is events
    with pytest.raises(
        InputError, match="nothing of 2 interactions is left after 'core of 5 events per user, 5 per item'"
    ):
        apply_filters(events, [KCore()])
