"""Edits: what they may touch, how much, how often, and that a record replays them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import InputError
from recsys.data.ragged import Ragged
from recsys.sequences.augment import Crop, Edit, IndependentCrop, Insert, Mask, Reorder, ReplaceWithinType, Substitute
from recsys.sequences.similarity import similar_items
from recsys.sequences.views import replay, two_views, view

ITEMS, TOKEN = 12, 99
SIMILAR = torch.stack([(torch.arange(ITEMS) + 1) % ITEMS, (torch.arange(ITEMS) + 2) % ITEMS], 1)
TYPES = torch.arange(ITEMS) % 3
ROWS = st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=9), min_size=1, max_size=12)
EDITS: list[Edit] = [
    Crop(0.5),
    Mask(TOKEN, 0.5),
    Reorder(0.8),
    Substitute(SIMILAR, 0.5),
    Insert(SIMILAR, 8, 0.5),
    ReplaceWithinType(TYPES, 1.0),
    IndependentCrop(),
]


def rows_of(ragged: Ragged) -> list[list[int]]:
    return [part.tolist() for part in ragged.values.split(ragged.lengths.tolist())]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pieces(row: list[int], length: int) -> list[list[int]]:
    return [row[start : start + length] for start in range(len(row) - length + 1)]


@settings(deadline=None)
@given(ROWS, st.integers(0, 99))
def test_each_edit_does_what_it_says(rows: list[list[int]], seed: int) -> None:
    crop, mask, reorder, substitute, insert, within, free = (
        rows_of(edit(Ragged.of(rows), seeded(seed))) for edit in EDITS
    )
    for number, row in enumerate(rows):
        assert crop[number] in pieces(row, max(1, len(row) // 2))
        assert free[number] in [p for n in range(1, max(1, len(row) // 2) + 1) for p in pieces(row, n)]
        kept = [(a, b) for a, b in zip(mask[number], row, strict=True) if a == b]
        assert mask[number].count(TOKEN) == len(row) // 2 == len(row) - len(kept)
        moved = [i for i, (a, b) in enumerate(zip(reorder[number], row, strict=True)) if a != b]
        assert sorted(reorder[number]) == sorted(row)
        assert not moved or moved[-1] - moved[0] < int(len(row) * 0.8)
        changed = [(a - b) % ITEMS for a, b in zip(substitute[number], row, strict=True) if a != b]
        assert len(changed) == max(1, len(row) // 2) and set(changed) <= {1, 2}
        assert len(insert[number]) == min(8, len(row) + max(1, len(row) // 2)) and insert[number][-1] == row[-1]
        assert [a % 3 for a in within[number]] == [b % 3 for b in row]


@settings(deadline=None)
@given(ROWS, st.integers(0, 99))
def test_a_view_replays_from_its_record(rows: list[list[int]], seed: int) -> None:
    history = Ragged.of(rows)
    for made in two_views(history, EDITS, seeded(seed)):
        again = replay(history, made, EDITS)
        assert torch.equal(again.values, made.history.values) and torch.equal(again.offsets, made.history.offsets)


def test_views_come_from_two_different_edits_all_pairs_alike() -> None:
    history = Ragged(torch.zeros(24_000, dtype=torch.long), torch.arange(0, 24_001, 4))
    first, second = two_views(history, EDITS[:3], seeded())
    pair = torch.bincount(first.choice * 3 + second.choice, minlength=9).double() / history.num_rows
    expected = torch.tensor([0, 1, 1, 1, 0, 1, 1, 1, 0]) / 6
    assert torch.allclose(pair, expected.double(), atol=0.02)


def test_a_row_of_one_item_stays() -> None:
    history = Ragged.of([[3], [4, 5, 6, 7]])
    for choice in range(3):
        assert rows_of(view(history, torch.full((2,), choice), EDITS, seeded()).history)[0] == [3]


def test_places_are_drawn_evenly() -> None:
    history = Ragged(torch.arange(5).repeat(8000), torch.arange(0, 40_001, 5))
    begin = torch.bincount(Crop(0.5).draw(history, seeded())[:, 0], minlength=4) / 8000
    assert torch.allclose(begin, torch.full((4,), 0.25), atol=0.02)
    share = Mask(TOKEN, 0.4).draw(history, seeded()).view(-1, 5).double().mean(0)
    assert torch.allclose(share, torch.full((5,), 0.4).double(), atol=0.02)
    source = Reorder(0.999).draw(history, seeded()).view(-1, 5) - torch.arange(0, 40_000, 5)[:, None]
    from_the_start = source[source[:, 0] != 0]  # the window of four began at the first item
    count = from_the_start.unique(dim=0, return_counts=True)[1].double()
    assert len(count) == 18 and count.std() / count.mean() < 0.2


def test_similar_items_equal_the_dense_computation() -> None:
    rows = [[0, 1, 2], [0, 1], [1, 3, 3], [4], [2, 0]]
    seen = torch.zeros(5, 6, dtype=torch.float64)
    for user, row in enumerate(rows):
        seen[user, row] = 1
    weight = 1 / torch.log1p(seen.sum(1))
    score = (seen * weight[:, None]).T @ seen / (seen.sum(0)[:, None] * seen.sum(0)).sqrt()
    score = score.nan_to_num(0).fill_diagonal_(0)
    found = similar_items(Ragged.of(rows), 6, 1).flatten()
    for item in range(6):
        if score[item].max() > 0:
            assert score[item, found[item]] == pytest.approx(float(score[item].max()))
        else:
            assert found[item] == item


@pytest.mark.parametrize("edit", [Crop(0.9), IndependentCrop(0, 0), Insert(SIMILAR, 8, 0.9), Reorder(0.9)])
def test_an_empty_row_stays_empty_and_no_other_becomes_so(edit: Edit) -> None:
    lengths = [len(row) > 0 for row in rows_of(edit(Ragged.of([[], [3], [], [1, 2], []]), seeded()))]
    assert lengths == [False, True, False, True, False]


@pytest.mark.parametrize("edit", [Substitute(SIMILAR, 0.5), Insert(SIMILAR, 8), ReplaceWithinType(TYPES)])
@pytest.mark.parametrize("item", [-1, ITEMS])
def test_items_outside_the_table_are_refused(edit: Edit, item: int) -> None:
    with pytest.raises(InputError, match=rf"the items 0\.\.11, a history holds {item}"):
        edit(Ragged.of([[1, 2], [3, item]]), seeded())


def test_a_mask_never_hides_a_whole_row() -> None:
    history = Ragged.of([[5] * length for length in range(1, 51)])
    for ratio in (0.5, 0.9, 0.999999):
        masked = Mask(TOKEN, ratio)(history, seeded()).padded(TOKEN)
        assert (masked != TOKEN).any(1).all()
    with pytest.raises(InputError, match="below 1"):
        Mask(TOKEN, 1 - 1e-9)  # in single precision this is 1, and 50 of 50 items would be masked


@pytest.mark.parametrize("make", [lambda: Mask(0, 1.0), lambda: Crop(-0.1), lambda: IndependentCrop(0.5, 0.2)])
def test_ratios_that_leave_nothing_are_refused(make) -> None:
    with pytest.raises(InputError, match=r"ratio|least"):
        make()


def test_two_views_need_two_edits() -> None:
    with pytest.raises(InputError, match="two different edits"):
        two_views(Ragged.of([[1, 2]]), EDITS[:1], seeded())
