"""What popularity, recency, ItemKNN and EASE have in common."""

import pytest
import torch

from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.evaluation.ranking import rank
from recsys.models.base import UNKNOWN_USER
from recsys.models.ease import EASE
from recsys.models.itemknn import ItemKNN
from recsys.models.popularity import Popularity
from recsys.models.recency import Recency

ALL = [Popularity, Recency, ItemKNN, EASE]


def random_events(n=400, num_users=30, num_items=20, seed=0):
    g = torch.Generator().manual_seed(seed)
    return Interactions(
        user=torch.randint(num_users, (n,), generator=g),
        item=(torch.rand(n, generator=g) ** 2 * num_items).long(),
        num_users=num_users,
        num_items=num_items,
    )


def computed(model_class, train, **config):
    model = model_class(train, model_class.Config(**config))
    model.begin_epoch(model.sampler())
    return model


@pytest.mark.parametrize("model_class", ALL)
def test_a_checkpoint_needs_no_data(model_class):
    train = random_events()
    model = computed(model_class, train)
    again = model_class(train.take(torch.arange(0)), model_class.Config())
    again.load_state_dict(model.state_dict())
    ask = torch.tensor([3, 7]), train.histories.take(torch.tensor([3, 7]))
    assert torch.equal(model.index().score(*ask), again.index().score(*ask))


@pytest.mark.parametrize("model_class", ALL)
def test_only_the_history_counts(model_class):
    """A known user and a stranger with his history get one answer, whatever else is asked in the batch."""
    train = random_events()
    index = computed(model_class, train).index()
    known = index.score(torch.arange(30), train.histories)
    stranger = index.score(torch.tensor([UNKNOWN_USER]), train.histories.take(torch.tensor([4])))
    torch.testing.assert_close(known[4:5], stranger)
    nobody = index.score(torch.tensor([UNKNOWN_USER]), Ragged.of([[]]))
    assert nobody.shape == (1, 20)
    assert nobody.isfinite().all()


@pytest.mark.parametrize("model_class", [ItemKNN, EASE])
def test_repeats_and_order_do_not_count(model_class):
    index = computed(model_class, random_events()).index()
    user = torch.tensor([UNKNOWN_USER, UNKNOWN_USER])
    one, two = index.score(user, Ragged.of([[1, 2, 3], [3, 1, 3, 2, 2]]))
    assert torch.equal(one, two)


@pytest.mark.parametrize("model_class", ALL)
def test_without_gradients_and_batches(model_class):
    model = computed(model_class, random_events())
    assert not list(model.parameters())
    assert list(model.sampler().batches(10, torch.Generator())) == []
    assert model.phases == ()


def test_the_index_is_a_picture():
    """Computing the model again, from other data, leaves an earlier index as it was."""
    for model_class in ALL:
        model = computed(model_class, random_events(seed=0))
        index = model.index()
        ask = torch.tensor([UNKNOWN_USER]), Ragged.of([[0, 5]])
        before = index.score(*ask)
        model.interactions = random_events(seed=1)
        model.begin_epoch(model.sampler())
        assert torch.equal(index.score(*ask), before)


def test_popularity_ranks_by_counts():
    train = random_events()
    truth = random_events(n=50, seed=1)
    ranking = rank(computed(Popularity, train).index(), train, truth, 20, mask_history=False)
    counts = torch.bincount(train.item, minlength=20)
    assert (counts[ranking.items].diff(dim=1) <= 0).all()


def test_recency_shows_the_latest_first_and_then_what_is_popular():
    train = Interactions(
        user=torch.tensor([0, 0, 0, 0, 1, 1, 2]), item=torch.tensor([1, 2, 3, 1, 4, 4, 5]), num_users=3, num_items=6
    )
    truth = Interactions(user=torch.tensor([0]), item=torch.tensor([3]), num_users=3, num_items=6)
    ranking = rank(computed(Recency, train).index(), train, truth, 6, mask_history=False)
    # 1 is the latest of user 0, then 3, then 2; then 4 (twice), 5 (once), 0 (never)
    assert ranking.items.tolist() == [[1, 3, 2, 4, 5, 0]]
