"""Samplers against a loop over users."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import InputError
from recsys.data.ragged import Ragged
from recsys.sequences import views
from recsys.sequences.augment import Crop, Reorder
from recsys.sequences.sampler import BLOCK, PrefixSampler, UserSampler

ITEMS = 12
HISTORIES = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=9), min_size=1, max_size=8).filter(
    lambda rows: any(len(row) > 1 for row in rows)
)


def rows_of(ragged: Ragged) -> list[list[int]]:
    return [part.tolist() for part in ragged.values.split(ragged.lengths.tolist())]


@settings(deadline=None)
@given(HISTORIES, st.integers(1, 5), st.integers(1, 7))
def test_every_beginning_is_a_sample_once(rows: list[list[int]], max_length: int, batch_size: int) -> None:
    sampler = PrefixSampler(Ragged.of(rows), ITEMS, max_length)
    expected = [
        (user, row[max(0, p - max_length) : p], row[p]) for user, row in enumerate(rows) for p in range(1, len(row))
    ]
    batches = list(sampler.batches(batch_size, torch.Generator().manual_seed(0)))
    assert len(batches) == sampler.steps(batch_size)
    found = [
        sample
        for batch in batches
        for sample in zip(batch.user.tolist(), rows_of(batch.history), batch.target.tolist(), strict=True)
    ]
    assert sorted(found) == sorted(expected)


@settings(deadline=None)
@given(HISTORIES, st.integers(1, 5))
def test_every_user_is_a_row_with_a_target_at_every_item(rows: list[list[int]], max_length: int) -> None:
    sampler = UserSampler(Ragged.of(rows), ITEMS, max_length)
    for batch in sampler.batches(3, torch.Generator().manual_seed(0)):
        targets = rows_of(Ragged(batch.target, batch.history.offsets))
        for user, history, target in zip(batch.user.tolist(), rows_of(batch.history), targets, strict=True):
            recent = rows[user][-max_length - 1 :]
            assert history == recent[:-1] and target == recent[1:]


@pytest.mark.parametrize("kind", [PrefixSampler, UserSampler])
def test_negatives_are_unknown_to_the_user(kind: type[PrefixSampler] | type[UserSampler]) -> None:
    rows = [[0, 1, 2, 3], list(range(ITEMS - 1)), list(range(ITEMS)), [5], []]
    sampler = kind(Ragged.of(rows), ITEMS, 4, negatives=3)
    users = set()
    for batch in sampler.batches(2, torch.Generator().manual_seed(0)):
        owner = batch.user.repeat_interleave(
            len(batch.target) // len(batch.user) if kind is PrefixSampler else batch.history.lengths
        )
        for user, drawn in zip(owner.tolist(), batch.negative.tolist(), strict=True):
            assert len(drawn) == 3 and not set(drawn) & set(rows[user])
            users.add(user)
    assert users == {0, 1}, "a user who knows every item has no negative and is left out"


def test_order_follows_the_generator() -> None:
    sampler = PrefixSampler(Ragged.of([[1, 2, 3, 4, 5, 6, 7]]), ITEMS, 4)
    first, again, other = (
        torch.cat([b.target for b in sampler.batches(2, torch.Generator().manual_seed(seed))]) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_histories_of_one_item_cannot_be_learned_from() -> None:
    with pytest.raises(InputError, match="none has two items"):
        PrefixSampler(Ragged.of([[1], [2], []]), ITEMS, 4)


@pytest.mark.parametrize("kind", [PrefixSampler, UserSampler])
def test_views_are_drawn_a_block_at_a_time(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many samples there are: an epoch of them need not fit the memory."""
    histories = Ragged.of([[1, 2, 3]] * 3000)
    seen = []
    drawn = views.two_views

    def watched(history: Ragged, *rest: Any) -> Any:
        seen.append(history.num_rows)
        return drawn(history, *rest)

    monkeypatch.setattr(views, "two_views", watched)
    sampler = views.ViewSampler(kind(histories, ITEMS, 5), (Crop(0.4), Reorder(0.6)))
    sizes = [len(batch.user) for batch in sampler.batches(2, torch.Generator().manual_seed(0))]
    assert max(seen) == 2 * BLOCK and sum(seen) == sum(sizes)
    assert sizes == [2] * sampler.steps(2)
