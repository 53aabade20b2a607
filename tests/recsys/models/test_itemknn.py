"""ItemKNN against its dense formula."""

import pytest
import torch

from recsys.data.interactions import Interactions
from recsys.models import itemknn
from recsys.models.itemknn import ItemKNN


def world():
    g = torch.Generator().manual_seed(3)
    return Interactions(
        user=torch.randint(40, (300,), generator=g),
        item=torch.randint(25, (300,), generator=g),
        num_users=40,
        num_items=25,
    )


def dense_similarity(train, shrink):
    X = torch.zeros(train.num_users, train.num_items, dtype=torch.float64)
    X[train.user, train.item] = 1
    norm = X.sum(0).sqrt()
    return X, (X.T @ X / (norm[:, None] * norm + shrink)).fill_diagonal_(0)


@pytest.mark.parametrize("tile", [1, 60, 2**24])
@pytest.mark.parametrize("shrink", [0.0, 7.5])
def test_all_neighbours_equal_the_dense_formula(shrink, tile, monkeypatch):
    monkeypatch.setattr(itemknn, "TILE", tile)
    train = world()
    X, similarity = dense_similarity(train, shrink)
    model = ItemKNN(train, ItemKNN.Config(n_neighbors=100, shrink=shrink))
    model.begin_epoch(model.sampler())
    scores = model.index().score(torch.arange(40), train.histories)
    torch.testing.assert_close(scores.double(), X @ similarity, atol=1e-5, rtol=1e-5)


def test_neighbours_are_the_most_similar():
    train = world()
    X, similarity = dense_similarity(train, 2.0)
    model = ItemKNN(train, ItemKNN.Config(n_neighbors=4, shrink=2.0))
    model.begin_epoch(model.sampler())
    torch.testing.assert_close(model.similarity.double(), similarity.topk(4).values, atol=1e-6, rtol=1e-6)
    kept = torch.zeros_like(similarity).scatter_(1, model.neighbors.long(), model.similarity.double())
    assert ((kept == 0) | ((kept - similarity).abs() < 1e-6)).all()
    torch.testing.assert_close(
        model.index().score(torch.arange(40), train.histories).double(), X @ kept, atol=1e-5, rtol=1e-5
    )


def test_an_item_without_events_is_like_none():
    train = Interactions(user=torch.tensor([0, 0]), item=torch.tensor([0, 1]), num_users=1, num_items=4)
    model = ItemKNN(train, ItemKNN.Config(shrink=0.0))
    model.begin_epoch(model.sampler())
    assert model.index().score(torch.tensor([0]), train.histories).tolist() == [[1, 1, 0, 0]]
