"""Samplers: exact about what a user knows, fair about the rest."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import InputError
from recsys.data.interactions import Interactions
from recsys.data.samplers import Negatives, PairSampler


def interactions(pairs: list[tuple[int, int]], num_users: int, num_items: int) -> Interactions:
    user, item = torch.tensor(pairs, dtype=torch.long).view(-1, 2).T
    return Interactions(user=user, item=item, num_users=num_users, num_items=num_items)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), min_size=1, max_size=30),
    alpha=st.sampled_from([0.0, 0.5, 1.0]),
    users=st.sampled_from(["interactions", "uniform"]),
    batch_size=st.integers(1, 40),
)
def test_positives_are_known_and_negatives_never(pairs, alpha, users, batch_size):
    train = interactions(pairs, 6, 7)
    known = set(pairs)
    full = {user for user in range(6) if sum(u == user for u, _ in known) == 7}
    if all(user in full for user, _ in known):
        with pytest.raises(InputError, match="nothing to compare"):
            PairSampler(train)
        return
    sampler = PairSampler(train, negatives=3, popularity=alpha, users=users)
    batches = list(sampler.batches(batch_size, draw()))
    assert len(batches) == sampler.steps(batch_size)
    seen = []
    for batch in batches:
        assert batch.negative.shape == (len(batch.user), 3)
        for user, positive, negatives in zip(*map(torch.Tensor.tolist, batch), strict=True):
            assert (user, positive) in known
            assert user not in full
            assert all(0 <= item < 7 and (user, item) not in known for item in negatives)
            seen.append((user, positive))
    usable = sorted(pair for pair in known if pair[0] not in full)
    assert len(seen) == len(usable)
    if users == "interactions":
        assert sorted(seen) == usable


def test_uniform_negatives_are_uniform_over_the_unknown():
    table = Negatives(torch.tensor([0, 0, 1]), torch.tensor([1, 4, 0]), 2, 6)
    counts = torch.bincount(table.draw(torch.zeros(1, dtype=torch.long), 40_000, draw())[0], minlength=6)
    assert counts[[1, 4]].sum() == 0
    assert ((counts[[0, 2, 3, 5]] - 10_000).abs() < 400).all()


def test_popular_negatives_follow_the_power_of_popularity():
    # Items 0, 1, 2 are known to 4, 1 and 2 users; user 9 knows only item 2.
    pairs = [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 2), (9, 2)]
    user, item = torch.tensor(pairs).T
    table = Negatives(user, item, 10, 4, alpha=0.5)
    counts = torch.bincount(table.draw(torch.full((1,), 9), 30_000, draw())[0], minlength=4)
    assert counts[2] == counts[3] == 0  # known; never touched by anybody
    assert abs(counts[0] - 20_000) < 500  # 4 ** .5 against 1 ** .5


def test_users_drawn_uniformly_weigh_the_same():
    pairs = [(0, item) for item in range(9)] + [(1, 0)]
    sampler = PairSampler(interactions(pairs, 3, 12), users="uniform", epoch_size=20_000)
    batch = next(sampler.batches(20_000, draw()))
    counts = torch.bincount(batch.user, minlength=3)
    assert abs(counts[0] - 10_000) < 400
    assert counts[2] == 0


def test_the_same_generator_repeats_the_epoch_and_the_next_epoch_differs():
    train = interactions([(u, i) for u in range(5) for i in range(4)], 5, 30)
    sampler = PairSampler(train)
    one, other = draw(), draw()

    def epoch(generator: torch.Generator) -> torch.Tensor:
        return torch.cat([torch.cat([b.user, b.positive, b.negative.flatten()]) for b in sampler.batches(6, generator)])

    first = epoch(one)
    assert torch.equal(first, epoch(other))
    assert not torch.equal(first, epoch(one))


def test_huge_catalogues_do_not_overflow():
    train = Interactions(
        user=torch.tensor([0, 4_000_000]), item=torch.tensor([5, 2_999_999]), num_users=4_000_001, num_items=3_000_000
    )
    for alpha in (0.0, 1.0):
        batch = next(PairSampler(train, negatives=50, popularity=alpha).batches(2, draw()))
        assert (batch.negative >= 0).all() and (batch.negative < 3_000_000).all()
        assert not (batch.negative == batch.positive[:, None]).any()


def test_an_epoch_size_needs_uniform_users():
    with pytest.raises(InputError, match="epoch_size"):
        PairSampler(interactions([(0, 0)], 1, 2), epoch_size=5)
