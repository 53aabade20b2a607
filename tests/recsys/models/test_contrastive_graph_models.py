"""LightGCL, DirectAU and NCL against dense formulas."""

import pytest
import torch
import torch.nn.functional as F

from graphcl.errors import InputError
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models.dccf import DCCF
from recsys.models.directau import DirectAU
from recsys.models.hccf import HCCF
from recsys.models.lightgcl import LightGCL
from recsys.models.lightgcn import LightGCN
from recsys.models.ncl import NCL
from recsys.models.sgl import SGL

USERS, ITEMS = 9, 8
BATCH = Triples(torch.tensor([0, 3, 3, 5]), torch.tensor([1, 2, 1, 6]), torch.tensor([[5], [4], [5], [0]]))


@pytest.fixture
def train() -> Interactions:
    generator = torch.Generator().manual_seed(0)
    user, item = (torch.randint(high - 1, (40,), generator=generator) for high in (USERS, ITEMS))
    return Interactions(user=user, item=item, num_users=USERS, num_items=ITEMS)


@pytest.mark.parametrize("init_std", [0.1, 3.0])
def test_lightgcl_contrasts_with_the_low_rank_graph(train, init_std):
    config = {"embedding_size": 4, "n_layers": 2, "rank": 7, "cl_weight": 1.0, "temperature": 0.5}
    model = LightGCL(train, LightGCL.Config(**config, init_std=init_std))
    adjacency = model.adjacency.dense()
    block = adjacency[:USERS, USERS:]
    left, s, right = torch.linalg.svd(block)
    low = left[:, :7] * s[:7] @ right[:7]
    low = torch.cat([F.pad(low, (USERS, 0)), F.pad(low.T, (0, ITEMS))])
    x = model.embedding
    total, view = x + adjacency @ x + adjacency @ adjacency @ x, x + low @ x + low @ adjacency @ x
    expected = 0
    for rows, side in (
        (BATCH.user.unique(), slice(None, USERS)),
        (BATCH.positive.unique(), slice(USERS, None)),
    ):
        logits = view[side][rows] @ total[side].T / 0.5
        positive = logits.gather(1, rows.unsqueeze(1)).squeeze(1)
        assert bool((positive.abs() > 5).any()) == (init_std > 1)
        expected = expected + (logits.logsumexp(1) - positive.clamp(-5, 5)).mean()
    torch.testing.assert_close(model(BATCH, "all")["contrast"], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.embed(), total)


def test_lightgcl_drops_edges_in_training_only(train):
    model = LightGCL(train, LightGCL.Config(embedding_size=4, drop_ratio=0.5))
    model.begin_epoch(model.sampler())
    assert model.dropped.num_edges == 2 * (model.adjacency.num_edges // 2 - round(model.adjacency.num_edges / 4))
    x, adjacency = model.embedding, model.adjacency.dense()
    torch.testing.assert_close(model.embed(), x + adjacency @ x + adjacency @ adjacency @ x)


def test_directau_by_formula(train):
    model = DirectAU(train, DirectAU.Config(embedding_size=4, uniformity_weight=0.7))
    user, item = (F.normalize(half, dim=1) for half in model.halves(model.embedding))
    user, item = user[BATCH.user], item[BATCH.positive]
    terms = model(BATCH, "all")
    torch.testing.assert_close(terms["alignment"], (user - item).square().sum(1).mean())
    uniform = [(-2 * torch.pdist(side).square()).exp().mean().log() for side in (user, item)]
    torch.testing.assert_close(terms["uniformity"], 0.7 * sum(uniform) / 2)
    alone = Triples(BATCH.user[:1], BATCH.positive[:1], BATCH.negative[:1])
    assert model(alone, "all")["uniformity"] == 0


def test_ncl_contrasts_neighbours_and_after_the_warm_up_prototypes(train):
    config = NCL.Config(
        embedding_size=4,
        n_layers=2,
        n_clusters=3,
        warmup_epochs=1,
        cl_weight=1.0,
        prototype_weight=1.0,
        temperature=0.5,
    )
    model = NCL(train, config)
    adjacency = model.adjacency.dense()
    here, there = model.embedding, adjacency @ adjacency @ model.embedding
    expected = 0
    for rows, side in ((BATCH.user.unique(), slice(None, USERS)), (BATCH.positive.unique(), slice(USERS, None))):
        logits = F.normalize(there[side][rows], dim=1) @ F.normalize(here[side], dim=1).T / 0.5
        expected = expected + F.cross_entropy(logits, rows)
    model.begin_epoch(model.sampler())
    terms = model(BATCH, "all")
    assert terms["prototypes"] == 0  # named from the start, so that a schedule can name it, too
    torch.testing.assert_close(terms["contrast"], expected)

    model.begin_epoch(model.sampler())
    expected = 0
    for rows, side, centroids in zip(
        (BATCH.user.unique(), BATCH.positive.unique()),
        model.halves(model.embedding),
        (model.user_centroids, model.item_centroids),
        strict=True,
    ):
        own = torch.cdist(side, centroids).argmin(1)[rows]
        logits = F.normalize(side[rows], dim=1) @ F.normalize(centroids, dim=1).T / 0.5
        expected = expected + F.cross_entropy(logits, own)
    torch.testing.assert_close(model(BATCH, "all")["prototypes"], expected)
    assert {"user_centroids", "item_centroids", "epoch"} <= set(model.state_dict())


def test_ncl_refuses_odd_layers():
    with pytest.raises(InputError, match="even"):
        NCL.Config(n_layers=3, cl_layer=3)


def test_hccf_contrasts_neighbours_with_hyperedges(train):
    config = HCCF.Config(embedding_size=4, n_layers=2, n_hyperedges=3, slope=0.3, cl_weight=0.5, temperature=0.4)
    model = HCCF(train, config)
    adjacency, first = model.adjacency.dense(), model.embedding
    x, total, contrasts = first, first, 0
    for _ in range(2):
        near = F.leaky_relu(adjacency @ x, 0.3)
        sides = []
        for rows, weight in ((slice(None, USERS), model.user_hyperedges), (slice(USERS, None), model.item_hyperedges)):
            incidence = F.normalize(first[rows] @ weight, dim=0)
            sides.append(F.leaky_relu(incidence @ F.leaky_relu(incidence.T @ x[rows], 0.3), 0.3))
        far = torch.cat(sides)
        for rows in (BATCH.user.unique(), BATCH.positive.unique() + USERS):
            logits = F.normalize(near[rows], dim=1) @ F.normalize(far[rows], dim=1).T / 0.4
            contrasts = contrasts + F.cross_entropy(logits, torch.arange(len(rows)))
        x = x + near + far
        total = total + x
    torch.testing.assert_close(model.embed(), total)
    torch.testing.assert_close(model(BATCH, "all")["contrast"], 0.5 * contrasts)


def test_more_hyperedges_than_users_stay_finite(train):
    model = HCCF(train, HCCF.Config(embedding_size=4, n_hyperedges=50, temperature=1e-3))
    torch.stack(list(model(BATCH, "all").values())).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("kind", [LightGCL, SGL])
@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_losing_nothing_or_everything_stays_finite(train, kind, ratio):
    model = kind(train, kind.Config(embedding_size=4, drop_ratio=ratio))
    model.begin_epoch(model.sampler())
    torch.stack(list(model(BATCH, "all").values())).sum().backward()
    assert torch.isfinite(model.embedding.grad).all()


@pytest.mark.parametrize("kind", [LightGCN, DCCF])
def test_a_graph_without_edges_is_refused_when_training_begins(kind):
    nothing = torch.empty(0, dtype=torch.long)
    for num_users, num_items in ((3, 4), (0, 4), (3, 0)):
        train = Interactions(user=nothing, item=nothing, num_users=num_users, num_items=num_items)
        with pytest.raises(InputError, match="nothing to compare"):
            kind(train, kind.Config(embedding_size=4)).sampler()
