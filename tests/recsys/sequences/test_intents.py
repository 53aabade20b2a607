"""Partners of the same target against a walk through the bucket."""

from itertools import groupby

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.ragged import Ragged
from recsys.sequences.intents import PartnerSampler

ITEMS = 5
HISTORIES = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=7), min_size=1, max_size=8).filter(
    lambda rows: any(len(row) > 1 for row in rows)
)


def samples(rows: list[list[int]], length: int) -> list[tuple[list[int], int]]:
    """What the segmentation says, one sample at a time."""
    return [(row[max(0, p - length) : p], row[p]) for row in rows for p in range(1, len(row))]


@settings(deadline=None, max_examples=200)
@given(HISTORIES, st.integers(1, 3))
def test_the_last_differing_one_is_the_partner(rows: list[list[int]], length: int) -> None:
    sampler = PartnerSampler(Ragged.of(rows), ITEMS, length, pairing="last")
    expected = []
    for number, (read, target) in enumerate(samples(rows, length)):
        partner = number
        for other, (items, same) in enumerate(samples(rows, length)):
            if same == target and items != read:
                partner = other
        expected.append(partner)
    assert sampler.partner(torch.arange(sampler.num_samples), torch.Generator()).tolist() == expected


@settings(deadline=None)
@given(HISTORIES, st.integers(1, 3), st.integers(0, 5))
def test_random_partners_share_the_target_and_differ_where_they_can(
    rows: list[list[int]], length: int, seed: int
) -> None:
    every = samples(rows, length)
    sampler = PartnerSampler(Ragged.of(rows), ITEMS, length, pairing="random")
    for batch in sampler.batches(4, torch.Generator().manual_seed(seed)):
        for read, partner, target in zip(
            batch.history.values.split(batch.history.lengths.tolist()),
            batch.partner.values.split(batch.partner.lengths.tolist()),
            batch.target.tolist(),
            strict=True,
        ):
            others = [items for items, same in every if same == target and items != read.tolist()]
            assert partner.tolist() in (others or [read.tolist()])


def test_random_partners_are_uniform() -> None:
    rows = [[9, 0], [1, 0], [2, 0], [3, 0], [1, 0]]
    sampler = PartnerSampler(Ragged.of(rows), 10, 4, pairing="random")
    drawn = sampler.partner(torch.zeros(30_000, dtype=torch.long), torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=5) / len(drawn)
    assert torch.allclose(share, torch.tensor([0, 0.25, 0.25, 0.25, 0.25]), atol=0.015)


@settings(deadline=None)
@given(HISTORIES)
def test_the_pass_over_all_reads_every_sample(rows: list[list[int]]) -> None:
    sampler = PartnerSampler(Ragged.of(rows), ITEMS, 3)
    read = [
        part.tolist() for piece in sampler.inputs_by_length() for part in piece.values.split(piece.lengths.tolist())
    ]
    assert sorted(read) == sorted(items for items, _ in samples(rows, 3))
    assert [length for length, _ in groupby(map(len, read))] == sorted({len(items) for items in read})
