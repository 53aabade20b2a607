import re

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphcl.errors import InputError
from recsys.data.interactions import Interactions, Split

IDS = st.one_of(
    st.lists(st.integers(0, 10**17), min_size=1, max_size=30),
    st.lists(
        st.text("abzé7 -", min_size=1, max_size=4).filter(lambda name: not re.fullmatch("-7+", name)),  # refused
        min_size=1,
        max_size=30,
    ),
)


@given(IDS, IDS)
def test_every_row_keeps_its_raw_ids(users, items):
    rows = list(zip(users, items, strict=False))
    frame = pd.DataFrame(rows, columns=["who", "what"])
    made = Interactions.from_dataframe(frame, user="who", item="what")
    back = [(made.user_ids[u], made.item_ids[i]) for u, i in zip(made.user.tolist(), made.item.tolist(), strict=True)]
    assert back == [(str(user), str(item)) for user, item in rows]
    assert made.num_users == len({user for user, _ in rows})
    assert made.num_items == len({item for _, item in rows})


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=40), st.randoms())
def test_numbering_does_not_depend_on_the_order_of_rows(rows, random):
    frame = pd.DataFrame(rows, columns=["user", "item"])
    mixed = rows.copy()
    random.shuffle(mixed)
    ordered, shuffled = (
        Interactions.from_dataframe(frame),
        Interactions.from_dataframe(pd.DataFrame(mixed, columns=["user", "item"])),
    )
    assert ordered.user_ids == shuffled.user_ids == tuple(map(str, sorted({user for user, _ in rows})))
    assert ordered.item_ids == shuffled.item_ids


def test_text_that_is_all_numbers_is_numbered_by_value_and_keeps_its_zeros():
    frame = pd.DataFrame({"user": ["10", "9", "007"], "item": ["b", "a", "10"]})
    made = Interactions.from_dataframe(frame)
    assert made.user_ids == ("007", "9", "10")
    assert made.item_ids == ("10", "a", "b")


def test_times_may_be_dates_and_are_not_rounded():
    stamps = pd.to_datetime(["2020-01-01 00:00:01", "1970-01-01 00:00:00"])
    made = Interactions.from_dataframe(pd.DataFrame({"user": [1, 2], "item": [1, 2], "when": stamps}), time="when")
    assert made.time.tolist() == [1577836801.0, 0.0]
    large = pd.DataFrame({"user": [1, 1], "item": [1, 2], "when": [881250950, 881250949]})
    made = Interactions.from_dataframe(large, time="when")
    assert made.time.dtype == torch.int64
    assert made.histories.values.tolist() == [1, 0]


def test_a_categorical_column_may_have_unused_categories():
    frame = pd.DataFrame({"user": pd.Categorical(["b"], categories=["a", "b"]), "item": [3]})
    made = Interactions.from_dataframe(frame)
    assert (made.num_users, made.user_ids) == (1, ("b",))


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        ("user", [1.0, np.nan], r"ratings, row 2: the user id is missing .* fill it in"),
        ("user", ["a", None], r"ratings, row 2: the user id is missing"),
        ("item", [3, -1], r"ratings, row 2: the item id '-1' is negative; use ids from 0 up"),
        ("item", [0.5, 1], r"ratings, row 1: the item id '0.5' is not whole"),
        ("item", [1.0, 2.0**60], r"ratings, row 2: the item id '1.15\S*' is too large for a float"),
        ("time", [1.0, np.inf], r"ratings, row 2: the time 'inf' is not a finite number"),
        ("time", ["noon", "1"], r"ratings, row 1: the time 'noon' is not a finite number"),
        ("time", [pd.Timestamp(0), pd.NaT], r"ratings, row 2: the time is missing"),
        (
            "value",
            [np.nan, np.nan],
            r"ratings, row 1: the value 'nan' is not a finite number.* \(1 more rows like it\)",
        ),
    ],
)
def test_a_broken_cell_is_named_with_its_row(column, values, sentence):
    frame = pd.DataFrame({"user": [1, 2], "item": [1, 2], "time": [1, 2], "value": [1, 2]}).assign(**{column: values})
    with pytest.raises(InputError, match=sentence):
        Interactions.from_dataframe(frame, time="time", value="value", source="ratings")


def test_huge_integer_ids_are_names_like_others():
    frame = pd.DataFrame({"user": [2**62, 5, 2**62], "item": ["9" * 40, "1", "1"]})
    made = Interactions.from_dataframe(frame)
    assert made.user_ids == ("5", str(2**62))
    assert made.item.tolist() == [1, 0, 0]


def test_a_missing_column_suggests_the_nearest():
    frame = pd.DataFrame({"users": [1], "item": [1]})
    with pytest.raises(InputError, match="the user column 'user' is not there; did you mean 'users'"):
        Interactions.from_dataframe(frame)
    with pytest.raises(InputError, match="the item column 'item' occurs 2 times"):
        Interactions.from_dataframe(pd.DataFrame([[1, 2, 3]], columns=["user", "item", "item"]))


def test_an_empty_frame_is_refused():
    with pytest.raises(InputError, match="holds no interactions"):
        Interactions.from_dataframe(pd.DataFrame({"user": [], "item": []}))


def test_a_history_is_in_the_order_of_time_and_ties_in_that_of_the_rows():
    made = Interactions(
        user=torch.tensor([1, 0, 1, 1, 0]),
        item=torch.tensor([4, 3, 2, 1, 0]),
        num_users=3,
        num_items=5,
        time=torch.tensor([5, 1, 5, 2, 1]),
    )
    assert made.histories.offsets.tolist() == [0, 2, 5, 5]
    assert made.histories.values.tolist() == [3, 0, 1, 4, 2]


def test_the_graph_has_each_pair_once_in_both_directions():
    made = Interactions(user=torch.tensor([0, 1, 0]), item=torch.tensor([1, 0, 1]), num_users=2, num_items=3)
    assert made.graph.num_nodes == 5
    assert sorted(map(tuple, made.graph.edge_index.T.tolist())) == [(0, 3), (1, 2), (2, 1), (3, 0)]


def test_the_digest_is_of_events_order_and_size_not_of_names():
    base = Interactions(user=torch.tensor([0, 0]), item=torch.tensor([1, 0]), num_users=2, num_items=2)
    named = Interactions(
        user=base.user, item=base.item, num_users=2, num_items=2, user_ids=("a", "b"), item_ids=("c", "d")
    )
    assert base.digest == named.digest
    others = [
        base.take(torch.tensor([1, 0])),
        Interactions(user=base.user, item=base.item, num_users=3, num_items=2),
        Interactions(user=base.item, item=base.user, num_users=2, num_items=2),
        Interactions(user=base.user, item=base.item, num_users=2, num_items=2, time=torch.tensor([0, 0])),
        Interactions(user=base.user, item=base.item, num_users=2, num_items=2, value=torch.tensor([0.0, 0.0])),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 6
    swapped = Split(base, base, others[0]), Split(base, others[0], base), Split(others[0], base, base)
    assert len({split.digest for split in swapped}) == 3


@pytest.mark.parametrize(
    ("user", "sentence"),
    [
        (torch.tensor([0, 2]), r"user: ids must lie in 0\.\.1, got 0\.\.2"),
        (torch.tensor([-1, 0]), r"user: ids must lie in 0\.\.1, got -1\.\.0"),
        (torch.tensor([0.0, 1.0]), "flat int64 tensor"),
        (torch.tensor([0]), "columns differ in length"),
    ],
)
def test_wrong_tensors_are_refused(user, sentence):
    with pytest.raises(InputError, match=sentence):
        Interactions(user=user, item=torch.tensor([0, 1]), num_users=2, num_items=2)


def test_parts_of_other_data_are_not_joined():
    small = Interactions(user=torch.tensor([0]), item=torch.tensor([0]), num_users=1, num_items=1)
    large = Interactions(user=torch.tensor([0]), item=torch.tensor([0]), num_users=2, num_items=1)
    assert len(small + small) == 2
    with pytest.raises(InputError, match="number different users"):
        _ = small + large


def test_parts_that_were_numbered_apart_are_no_split():
    train = pd.DataFrame({"user": ["a", "b", "c"], "item": [1, 2, 3]})
    test = pd.DataFrame({"user": ["a", "b", "d"], "item": [1, 2, 9]})
    apart = [Interactions.from_dataframe(frame) for frame in (train, test)]
    for make in (lambda: apart[0] + apart[1], lambda: Split(apart[0], apart[0], apart[1])):
        with pytest.raises(InputError, match="user 2 is 'c' in one part and 'd' in another; number the parts together"):
            make()
    together = Interactions.from_dataframes({"train": train, "test": test})
    assert together["train"].user_ids == together["test"].user_ids == ("a", "b", "c", "d")
    assert (together["train"].user.tolist(), together["test"].item.tolist()) == ([0, 1, 2], [0, 1, 3])
    with pytest.raises(InputError, match="test, row 2"):
        Interactions.from_dataframes({"train": train, "test": test.assign(user=["a", None, "d"])})


def test_a_number_and_its_digits_are_one_name():
    frame = pd.DataFrame({"user": [1, "1", 2], "item": [5, 6, 5]}, dtype=object)
    events = Interactions.from_dataframe(frame)
    assert (events.user.tolist(), events.user_ids) == ([0, 0, 1], ("1", "2"))
