import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.ragged import Ragged, offsets_of

ROWS = st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=8)


def lists(ragged):
    return [row.tolist() for row in ragged.values.split(ragged.lengths.tolist())]


@given(ROWS)
def test_rows_come_back(rows):
    ragged = Ragged.of(rows)
    assert lists(ragged) == rows
    assert ragged.num_rows == len(rows)
    assert ragged.row.tolist() == [number for number, row in enumerate(rows) for _ in row]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), max_size=30))
def test_grouping_keeps_the_order_within_a_row(pairs):
    row, values = (torch.tensor([pair[k] for pair in pairs], dtype=torch.long) for k in (0, 1))
    assert lists(Ragged.group(row, values, 6)) == [[value for r, value in pairs if r == want] for want in range(6)]


@given(ROWS, st.data())
def test_take_and_last_are_those_of_lists(rows, data):
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    length = data.draw(st.integers(1, 7))
    ragged = Ragged.of(rows)
    assert lists(ragged.take(torch.tensor(wanted, dtype=torch.long))) == [rows[w] for w in wanted]
    assert lists(ragged.last(length)) == [row[-length:] for row in rows]


@given(ROWS)
def test_append_adds_one_value_to_each_row(rows):
    extra = torch.arange(100, 100 + len(rows))
    assert lists(Ragged.of(rows).append(extra)) == [[*row, 100 + number] for number, row in enumerate(rows)]


@given(ROWS, st.booleans())
def test_padding_is_around_the_rows_and_nowhere_else(rows, left):
    table = Ragged.of(rows).padded(-1, left=left).tolist()
    longest = max(map(len, rows))
    for row, padded in zip(rows, table, strict=True):
        blank = [-1] * (longest - len(row))
        assert padded == (blank + row if left else row + blank)


def test_offsets_of_nothing():
    assert offsets_of(torch.tensor([], dtype=torch.long)).tolist() == [0]
