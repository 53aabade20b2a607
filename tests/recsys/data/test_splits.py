from collections import defaultdict
from dataclasses import replace
from itertools import chain, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphcl.errors import InputError
from recsys.data.interactions import Interactions, Released
from recsys.data.leakage import audit
from recsys.data.splits import SPLITS, AsReleased, GlobalTime, LeaveOneOut, Ratio

EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=80)
SHARES = st.sampled_from([(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (0.5, 0.25, 0.25), (0.9, 0.0, 0.1), (1.0, 0.0, 0.0)])


def interactions(rows, *, timed=True):
    """Events whose item is their row, so that parts can be told apart."""
    return Interactions(
        user=torch.tensor([row[0] for row in rows]),
        item=torch.arange(len(rows)),
        time=torch.tensor([row[1] for row in rows]) if timed else None,
        num_users=5,
        num_items=len(rows),
        user_ids=tuple("abcde"),
    )


def rows_of(split):
    return tuple(part.item.tolist() for part in (split.train, split.valid, split.test))


def by_user(rows):
    groups = defaultdict(list)
    for number, (user, time) in enumerate(rows):
        groups[user].append((time, number))
    return {user: [number for _, number in sorted(group)] for user, group in groups.items()}


def sizes(n, valid, test):
    """RecBole's rule: floors, then one for each part that got none, test first, while train keeps one."""
    counts = [0, int(valid * n + 1e-9), int(test * n + 1e-9)]
    counts[0] = n - counts[1] - counts[2]
    for part, share in ((2, test), (1, valid)):
        if counts[0] > 1 and 0 < share * n < 1:
            counts[part] += 1
            counts[0] -= 1
    return counts


@given(EVENTS, st.sampled_from(sorted(SPLITS)))
def test_every_event_is_in_one_part_and_in_its_order(rows, kind):
    if kind == "as_released":
        return
    options = {"short": "train"} if kind == "leave_one_out" else {}
    parts = rows_of(SPLITS[kind](**options).divide(interactions(rows)))
    assert sorted(chain(*parts)) == list(range(len(rows)))
    assert all(part == sorted(part) for part in parts)


@given(EVENTS, SHARES)
def test_shares_of_each_user_by_time(rows, shares):
    train, valid, test = shares
    rule = Ratio(train=train, valid=valid, test=test, by="time")
    wanted = [[], [], []]
    for group in by_user(rows).values():
        first, second, _ = sizes(len(group), valid, test)
        for part, chosen in enumerate((group[:first], group[first : first + second], group[first + second :])):
            wanted[part] += chosen
    assert list(rows_of(rule.divide(interactions(rows)))) == [sorted(part) for part in wanted]


@given(EVENTS, SHARES, st.integers(0, 99))
def test_random_shares_have_the_same_sizes(rows, shares, seed):
    train, valid, test = shares
    split = Ratio(train=train, valid=valid, test=test, seed=seed).divide(interactions(rows))
    for user, group in by_user(rows).items():
        counts = [int((part.user == user).sum()) for part in (split.train, split.valid, split.test)]
        assert counts == sizes(len(group), valid, test)
    everything = Ratio(train=train, valid=valid, test=test, seed=seed, scope="global").divide(interactions(rows))
    assert [len(part) for part in rows_of(everything)] == sizes(len(rows), valid, test)


def test_a_seed_fixes_the_draw_and_touches_no_global_generator():
    events = interactions([(0, 0)] * 60)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (Ratio(seed=seed).divide(events).digest for seed in (7, 7, 8))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)


def test_random_shares_are_fair():
    """Each of ten events of a user is the test one in a tenth of the draws."""
    events = interactions([(0, n) for n in range(10)])
    tested = torch.zeros(10)
    for seed in range(600):
        tested[Ratio(seed=seed).divide(events).test.item] += 1
    assert tested.sum() == 600
    # a count with p = .1 out of 600 has a standard deviation of 7.3
    assert (tested - 60).abs().max() < 32


@given(EVENTS)
def test_the_last_two_of_each_user_are_left_out(rows):
    wanted = [[], [], []]
    for group in by_user(rows).values():
        cut = len(group) if len(group) < 3 else -2
        wanted[0] += group[:cut]
        if len(group) > 2:
            wanted[1].append(group[-2])
            wanted[2].append(group[-1])
    assert list(rows_of(LeaveOneOut(short="train").divide(interactions(rows)))) == [sorted(part) for part in wanted]


def test_without_times_the_order_of_rows_is_the_order_of_time():
    events = interactions([(0, 0), (1, 0), (0, 0), (1, 0), (0, 0), (1, 0)], timed=False)
    assert rows_of(LeaveOneOut().divide(events)) == ([0, 1], [2, 3], [4, 5])


@given(EVENTS, st.sampled_from([(0.1, 0.1), (0.25, 0.25), (0.5, 0.4)]))
def test_no_future_is_in_the_past(rows, shares):
    events = interactions(rows)
    split = GlobalTime(valid=shares[0], test=shares[1]).divide(events)
    times = [part.time for part in (split.train, split.valid, split.test) if len(part)]
    assert all(int(early.max()) < int(late.min()) for early, late in pairwise(times))
    # the test holds at least its share; events of the moment at which it begins may make it larger
    assert len(split.test) >= shares[1] * len(rows) - 1


def test_moments_may_be_given():
    split = GlobalTime(valid_from=3, test_from=5).divide(interactions([(0, time) for time in (5, 2, 3, 4, 9, 1)]))
    assert rows_of(split) == ([1, 5], [2, 3], [0, 4])
    with pytest.raises(InputError, match="needs times"):
        GlobalTime().divide(interactions([(0, 0)], timed=False))
    with pytest.raises(InputError, match="must lie before"):
        GlobalTime(valid_from=5, test_from=5)
    with pytest.raises(InputError, match="valid_from 2020-01-02 must lie before test_from 2020-01-01"):
        GlobalTime(valid_from="2020-01-02", test_from="2020-01-01")
    with pytest.raises(InputError, match="test_from: '2020-02-31' is neither a number nor a date"):
        GlobalTime(valid_from="2020-01-02", test_from="2020-02-31")
    with pytest.raises(InputError, match="give both"):
        GlobalTime(valid_from=5)
    with pytest.raises(InputError, match="must leave something to train"):
        GlobalTime(valid=0.5, test=0.5)


def test_moments_are_kept_to_the_second():
    now = 1_700_000_000
    rule = GlobalTime(valid_from=now + 30, test_from=now + 40)
    events = interactions([(0, now + second) for second in range(60)])
    assert [len(part) for part in rows_of(rule.divide(events))] == [30, 10, 20]
    assert "valid from 1700000030, test from 1700000040" in rule.words(events)
    dates = GlobalTime(valid_from="2023-11-14 22:13:50", test_from="2023-11-14T23:14:00+01:00")  # 22:13:20 is `now`
    assert rows_of(dates.divide(events)) == rows_of(rule.divide(events))
    assert "valid from 2023-11-14 22:13:50, test" in dates.words(events)


def test_shares_by_time_let_people_return_to_an_item():
    events = events_of([0] * 10 + [1] * 10, [0, 1] * 10, list(range(20)))
    rule = Ratio(by="time")
    assert (rule.order, Ratio(by="time", scope="global").order, Ratio().order) == ("user", "global", None)
    assert audit(rule.divide(events), rule.order).repeats == 2


def test_released_parts_stay_and_a_missing_valid_part_is_carved_from_train():
    events = interactions([(user, time) for user in range(4) for time in range(20)] + [(4, 0)])
    parts = events.take(events.time < 15), events.take(events.time >= 15)
    released = Released(train=parts[0], test=parts[1])
    split = AsReleased(valid=0.2).divide(released)
    assert split.test is parts[1]
    assert sorted(split.train.item.tolist() + split.valid.item.tolist()) == parts[0].item.tolist()
    assert torch.bincount(split.valid.user, minlength=5).tolist() == [3, 3, 3, 3, 0]
    assert len(AsReleased(valid=0).divide(released).valid) == 0
    whole = Released(train=parts[0], test=parts[1], valid=parts[1])
    assert AsReleased().divide(whole).valid is parts[1]
    with pytest.raises(InputError, match="this data is one piece"):
        AsReleased().divide(events)


def test_released_parts_can_be_divided_anew():
    events = interactions([(user, time) for user in range(4) for time in range(10)])
    released = Released(train=events.take(events.time < 5), test=events.take(events.time >= 5))
    assert sorted(chain(*rows_of(LeaveOneOut().divide(released)))) == list(range(40))


def test_shares_must_make_a_whole():
    with pytest.raises(InputError, match=r"must make 1"):
        Ratio(train=0.8, valid=0.1, test=0.2)


def events_of(users, items, times=None):
    return Interactions(
        user=torch.tensor(users, dtype=torch.long),
        item=torch.tensor(items, dtype=torch.long),
        time=None if times is None else torch.tensor(times),
        num_users=4,
        num_items=4,
        user_ids=tuple("abcd"),
        item_ids=tuple("wxyz"),
    )


def split_of(train, valid, test):
    from recsys.data.interactions import Split

    return Split(events_of(*train), events_of(*valid), events_of(*test))


TRAIN = ([0, 1, 1], [0, 1, 2], [1, 2, 3])


@pytest.mark.parametrize("order", [None, "user", "global"])
def test_the_guard_counts_what_is_cold(order):
    found = audit(split_of(TRAIN, ([1], [0], [4]), ([0, 2, 3], [1, 3, 3], [5, 6, 7])), order)
    assert (found.test_users, found.cold_users, found.test_items, found.cold_items) == (3, 2, 2, 1)
    assert "2 of 3 test users and 1 of 2 test items have no training interaction" in str(found)


@pytest.mark.parametrize(
    ("valid", "test", "sentence"),
    [
        (
            ([0], [1], [4]),
            ([1], [2], [5]),
            r"1 interactions of test are also in train, .* user 'b' with item 'y'; keep one",
        ),
        (([0], [1], [4]), ([0], [1], [5]), r"1 interactions of test are also in valid, .* user 'a' with item 'x'"),
        (([0], [0], [4]), ([1], [3], [5]), r"1 interactions of valid are also in train"),
    ],
)
def test_the_guard_refuses_known_pairs_unless_time_divides(valid, test, sentence):
    with pytest.raises(InputError, match=sentence):
        audit(split_of(TRAIN, valid, test))
    repeats = 1 if "of test" in sentence else 0
    assert audit(split_of(TRAIN, valid, test), "user").repeats == repeats


@pytest.mark.parametrize(
    ("order", "valid", "test", "sentence"),
    [
        (
            "user",
            ([1], [0], [2]),
            ([0], [1], [9]),
            r"1 events of train lie behind events of valid .*user 'b' with item 'y' at 3",
        ),
        ("user", ([0], [1], [9]), ([1], [0], [2]), r"events of train lie behind events of test"),
        ("user", ([0], [1], [9]), ([0], [2], [8]), r"events of valid lie behind events of test"),
        ("global", ([0], [1], [2]), ([0], [2], [9]), r"1 events of train lie behind events of valid"),
        ("global", ([0], [1], [9]), ([3], [2], [8]), r"1 events of valid lie behind events of test"),
    ],
)
def test_the_guard_refuses_the_future_in_the_past(order, valid, test, sentence):
    with pytest.raises(InputError, match=sentence):
        audit(split_of(TRAIN, valid, test), order)


def test_each_user_has_a_time_of_its_own():
    split = split_of(TRAIN, ([0], [1], [2]), ([0], [2], [3]))
    assert audit(split, "user").cold_users == 0
    with pytest.raises(InputError):
        audit(split, "global")


def test_the_guard_refuses_what_cannot_be_learnt_or_measured():
    empty = ([], [], [])
    with pytest.raises(InputError, match=r"the training part has one user \('a'\)"):
        audit(split_of(([0, 0], [0, 1], [1, 2]), empty, ([1], [1], [3])))
    with pytest.raises(InputError, match=r"the training part has one item \('w'\)"):
        audit(split_of(([0, 1], [0, 0], [1, 2]), empty, ([1], [1], [3])))
    with pytest.raises(InputError, match="the test part is empty"):
        audit(split_of(TRAIN, empty, empty))
    assert audit(split_of(TRAIN, empty, ([0], [1], [4]))).repeats == 0


def test_shares_by_time_lose_nothing_to_rounding():
    for count, valid, test, sizes in (
        (100, 0.05, 0.05, [90, 5, 5]),
        (10, 0.0, 0.9, [1, 0, 9]),
        (10, 0.2, 0.0, [8, 2, 0]),
    ):
        row = torch.arange(count)
        events = Interactions(user=row, item=row, num_users=count, num_items=count, time=row)
        parts = GlobalTime(valid=valid, test=test).divide(events)
        assert [len(parts.train), len(parts.valid), len(parts.test)] == sizes


def test_without_times_no_order_of_time_is_claimed():
    events = interactions([(0, 0), (0, 0), (1, 0), (1, 0)], timed=False)
    assert Ratio(train=0.5, valid=0.0, test=0.5, by="time").words(events).endswith("in the order of the file")
    with pytest.raises(InputError, match="needs times"):
        Ratio(train=0.5, valid=0.0, test=0.5, by="time", scope="global").divide(events)


def test_of_nobody_with_three_events_nothing_is_left():
    with pytest.raises(InputError, match="no interaction is left"):
        LeaveOneOut(short="drop").divide(interactions([(0, 1), (0, 2), (1, 1)]))


def test_the_latest_of_released_training_events_validate():
    whole = interactions([(0, 4), (0, 9), (0, 1), (0, 5), (1, 3), (1, 2), (1, 8), (0, 10), (1, 11)])
    parts = Released(whole.take(torch.arange(7)), whole.take(torch.arange(7, 9)))
    rule = AsReleased(valid=0.3, by="time")
    split = rule.divide(parts)
    assert rows_of(split) == ([0, 2, 3, 4, 5], [1, 6], [7, 8])
    assert rule.words(parts).endswith("valid is 0.3 of each user's train, the latest")
    audit(split, rule.order)
    early = replace(split.test, time=torch.tensor([3, 11]))
    with pytest.raises(InputError, match="train"):
        audit(replace(split, test=early), rule.order)
