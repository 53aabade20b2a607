"""What graph recommenders compute, against dense formulas."""

import pytest
import torch

from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.samplers import Triples
from recsys.models.base import UNKNOWN_USER, no_items
from recsys.models.lightgcn import LightGCN
from recsys.models.mf import MF


def toy(num_users: int = 7, num_items: int = 6) -> Interactions:
    """The last user and the last item are isolated."""
    generator = torch.Generator().manual_seed(0)
    user = torch.randint(num_users - 1, (18,), generator=generator)
    item = torch.randint(num_items - 1, (18,), generator=generator)
    return Interactions(user=user, item=item, num_users=num_users, num_items=num_items)


def dense_adjacency(train: Interactions) -> torch.Tensor:
    table = torch.zeros(train.num_users, train.num_items)
    table[train.user, train.item] = 1
    root_user, root_item = (table.sum(axis).clamp(min=1).rsqrt() for axis in (1, 0))
    table = root_user[:, None] * table * root_item
    corner = torch.zeros(train.num_users, train.num_users), torch.zeros(train.num_items, train.num_items)
    return torch.cat([torch.cat([corner[0], table], 1), torch.cat([table.T, corner[1]], 1)])


def test_lightgcn_is_the_mean_of_powers_of_the_adjacency():
    train = toy()
    model = LightGCN(train, LightGCN.Config(embedding_size=4, n_layers=2))
    adjacency = dense_adjacency(train)
    expected = (model.embedding + adjacency @ model.embedding + adjacency @ adjacency @ model.embedding) / 3
    torch.testing.assert_close(model.embed(), expected)
    index = model.index()
    everyone = torch.arange(train.num_users - 1)
    scores = index.score(everyone, no_items(len(everyone), everyone.device))
    torch.testing.assert_close(scores, expected[everyone] @ expected[train.num_users :].T)


def test_ranking_terms_by_hand():
    train = toy()
    model = MF(train, MF.Config(embedding_size=3, reg_weight=0.5, n_negatives=2))
    batch = Triples(torch.tensor([0, 2]), torch.tensor([1, 4]), torch.tensor([[0, 3], [2, 2]]))
    user, item = model.halves(model.embedding)
    gap = (user[batch.user] * item[batch.positive]).sum(1)[:, None] - torch.einsum(
        "bd,bnd->bn", user[batch.user], item[batch.negative]
    )
    squares = sum(part.square().sum() for part in (user[batch.user], item[batch.positive], item[batch.negative]))
    terms = model(batch, "all")
    torch.testing.assert_close(terms["bpr"], -gap.sigmoid().log().mean())
    torch.testing.assert_close(terms["reg"], 0.5 * squares / 2 / 2)


def test_hard_negatives_are_the_ones_the_model_likes():
    train = toy()
    config = MF.Config(embedding_size=3, n_negatives=3, hard_negatives=True, init_std=1.0)
    model = MF(train, config)
    batch = Triples(torch.tensor([0]), torch.tensor([1]), torch.tensor([[0, 3, 5]]))
    user, item = model.halves(model.embedding)
    best = batch.negative[0, (item[batch.negative[0]] @ user[0]).argmax()]
    only = Triples(batch.user, batch.positive, best.view(1, 1))
    for ours, theirs in zip(model(batch, "all").values(), model(only, "all").values(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", [MF, LightGCN])
def test_strangers_are_folded_in(kind):
    train = toy()
    model = kind(train, kind.Config(embedding_size=4))
    index = model.index()
    users = model.embed().detach()[: train.num_users]
    degree = torch.bincount(torch.unique(train.user * 6 + train.item) % 6, minlength=6).clamp(min=1)
    isolated = train.num_users - 1
    history = Ragged.of([[0, 3], [], [2], [1, 4, 5], []])
    asked = index.query(torch.tensor([UNKNOWN_USER, UNKNOWN_USER, 1, isolated, isolated]), history)
    for row, items in ((0, [0, 3]), (3, [1, 4, 5])):
        expected = (index.items[items] / degree[items].sqrt()[:, None]).sum(0) / len(items) ** 0.5
        torch.testing.assert_close(asked[row], expected)
    torch.testing.assert_close(asked[2], users[1])
    for row in (1, 4):
        torch.testing.assert_close(asked[row], users[:isolated].mean(0))


def test_the_picture_does_not_move_with_the_model():
    model = MF(toy(), MF.Config(embedding_size=4))
    index = model.index()
    before = index.items.clone()
    with torch.no_grad():
        model.embedding.add_(1)
    torch.testing.assert_close(index.items, before)
