"""What graph recommenders compute, against dense formulas."""

import pytest
import torch
import torch.nn.functional as F

from graphcl.errors import InputError
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.samplers import Triples
from recsys.models.base import UNKNOWN_USER, no_items
from recsys.models.lightgcn import LightGCN
from recsys.models.mf import MF
from recsys.models.sgl import SGL
from recsys.models.simgcl import SimGCL
from recsys.models.xsimgcl import XSimGCL


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
    history = Ragged.of([[0, 3, 0, 0], [], [2], [1, 4, 5], []])  # a repeat counts once, as in the graph
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


def triples(train: Interactions) -> Triples:
    sampler = LightGCN(train, LightGCN.Config()).sampler()
    return next(sampler.batches(12, torch.Generator().manual_seed(1)))


def dense_contrast(first: torch.Tensor, second: torch.Tensor, temperature: float) -> torch.Tensor:
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature
    return F.cross_entropy(logits, torch.arange(len(first)))


@pytest.mark.parametrize("view", ["edge_drop", "node_drop", "random_walk"])
def test_sgl_contrasts_two_damaged_graphs_that_change_every_epoch(view):
    train = toy()
    model = SGL(train, SGL.Config(embedding_size=4, n_layers=2, view=view, drop_ratio=0.4, cl_weight=0.5))
    batch = triples(train)
    model.begin_epoch(model.sampler())
    drawn = [[matrix.dense() for matrix in layers] for layers in model.views]
    assert torch.equal(drawn[0][0], drawn[0][1]) == (view != "random_walk")
    assert not torch.equal(drawn[0][0], drawn[1][0])
    tables = [(x + a @ x + b @ a @ x) / 3 for x in [model.embedding] for a, b in drawn]
    rows = batch.user.unique(), batch.positive.unique() + train.num_users
    expected = 0.5 * sum(dense_contrast(tables[0][r], tables[1][r], 0.2) for r in rows)
    torch.testing.assert_close(model(batch, "all")["contrast"], expected)
    model.begin_epoch(model.sampler())
    assert not torch.equal(model.views[0][0].dense(), drawn[0][0])


def test_a_view_that_loses_nothing_makes_sgl_contrast_equal_tables():
    train = toy()
    model = SGL(train, SGL.Config(embedding_size=4, n_layers=2, drop_ratio=0.0))
    model.begin_epoch(model.sampler())
    torch.testing.assert_close(model.views[0][0].dense(), model.adjacency.dense())


@pytest.mark.parametrize("kind", [SimGCL, XSimGCL])
def test_noisy_models_are_ranked_without_noise_and_repeat_with_their_generator(kind):
    train = toy()
    model = kind(train, kind.Config(embedding_size=4, n_layers=2))
    adjacency = dense_adjacency(train)
    expected = (adjacency @ model.embedding + adjacency @ adjacency @ model.embedding) / 2
    torch.testing.assert_close(model.embed(), expected)
    batch = triples(train)
    losses = []
    for seed in (1, 1, 2):
        model.generator.manual_seed(seed)
        losses.append(model(batch, "all")["contrast"].item())
    assert losses[0] == losses[1] != losses[2]


def test_noise_of_size_zero_turns_xsimgcl_into_a_contrast_of_layers():
    train = toy()
    model = XSimGCL(train, XSimGCL.Config(embedding_size=4, n_layers=2, noise=0.0, cl_weight=1.0))
    batch = triples(train)
    first = dense_adjacency(train) @ model.embedding
    rows = batch.user.unique(), batch.positive.unique() + train.num_users
    expected = sum(dense_contrast(model.embed()[r], first[r], 0.15) for r in rows)
    torch.testing.assert_close(model(batch, "all")["contrast"], expected)
    with pytest.raises(InputError, match="cl_layer"):
        XSimGCL.Config(n_layers=1, cl_layer=2)
