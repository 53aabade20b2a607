"""Feature, diffusion, spectral and learned views."""

import pytest
import torch
from torch_geometric.data import Data

from graphcl.errors import InputError
from graphcl.ops import SparseMatrix
from graphcl.views.concrete import ConcreteMask, EdgeScorer, chance_of_weight, hard_concrete
from graphcl.views.diffusion import PersonalizedPageRank
from graphcl.views.feature import FeatureMask, FeatureShuffle
from graphcl.views.spectral import LowRank, LowRankEdges, randomized_svd
from graphcl.views.structure import undirected_pairs


def new(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_graph(num_nodes: int = 9) -> Data:
    ends = torch.randint(num_nodes - 1, (2, 14), generator=new())
    ends = ends[:, ends[0] != ends[1]]
    edge_index = torch.cat([ends, ends.flip(0)], 1).unique(dim=1)
    return Data(x=torch.randn(num_nodes, 10, generator=new(1)), edge_index=edge_index, num_nodes=num_nodes)


def test_feature_mask_empties_whole_columns():
    data = random_graph()
    view = FeatureMask(0.3, generator=new(2))(data)
    empty = (view.x == 0).all(0)
    assert empty.sum() == 3
    assert torch.equal(view.x[:, ~empty], data.x[:, ~empty])
    assert not (data.x == 0).any()


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_feature_shuffle_moves_only_chosen_rows(ratio):
    data = random_graph()
    view = FeatureShuffle(ratio, generator=new(3))(data)
    moved = (view.x != data.x).any(1)
    assert moved.sum() <= round(ratio * 9)
    assert ratio == 0 or moved.any()
    assert torch.equal(view.x.sort(0).values, data.x.sort(0).values)


def test_pagerank_equals_the_inverse():
    data = random_graph()
    alpha = 0.2
    view = PersonalizedPageRank(alpha, top_k=9, tolerance=1e-9)(data)
    adjacency = torch.zeros(9, 9, dtype=torch.float64)
    adjacency[data.edge_index[0], data.edge_index[1]] = 1
    walk = adjacency / adjacency.sum(1, keepdim=True).clamp(min=1)
    ranks = alpha * torch.linalg.inv(torch.eye(9, dtype=torch.float64) - (1 - alpha) * walk)  # row i: as seen from i
    found = torch.zeros(9, 9).index_put((view.edge_index[1], view.edge_index[0]), view.edge_weight)
    torch.testing.assert_close(found, (ranks / ranks.sum(1, keepdim=True)).float(), atol=1e-6, rtol=1e-4)
    assert found[8, 8] == 1  # the isolated node


def test_pagerank_keeps_the_largest_entries():
    data = random_graph()
    whole, short = (PersonalizedPageRank(0.2, top_k=k)(data) for k in (9, 3))
    assert torch.bincount(short.edge_index[1], minlength=9).max() <= 3
    for node in range(9):
        best = whole.edge_weight[whole.edge_index[1] == node].topk(min(3, int((whole.edge_index[1] == node).sum())))
        kept = short.edge_weight[short.edge_index[1] == node].sort(descending=True).values
        torch.testing.assert_close(kept, best.values / best.values.sum())


def test_randomized_svd_equals_the_exact_one():
    torch.manual_seed(0)
    matrix = SparseMatrix.from_edges(torch.randint(40, (2, 300)), shape=(60, 40))
    u, s, v = randomized_svd(matrix, 4, generator=new(), n_iter=20)
    exact = torch.linalg.svd(matrix.dense())
    torch.testing.assert_close(s, exact.S[:4], rtol=1e-4, atol=1e-4)
    best = exact.U[:, :4] * exact.S[:4] @ exact.Vh[:4]
    torch.testing.assert_close(u * s @ v.T, best, rtol=1e-3, atol=1e-3)
    view = LowRank(matrix, 4, generator=new())
    x, y = torch.randn(40, 3), torch.randn(60, 3)
    torch.testing.assert_close(view(x), view.left @ view.right.T @ x)
    torch.testing.assert_close(view(y, transpose=True), (view.left @ view.right.T).T @ y)
    assert not view.state_dict()
    with pytest.raises(InputError, match="no 41 singular vectors"):
        randomized_svd(matrix, 41, generator=new())


def test_hard_concrete_has_exact_zeros_and_ones_with_the_stated_chance():
    logit = torch.full((20_000,), 0.4, requires_grad=True)
    weight = hard_concrete(logit, 0.5, new())
    assert ((weight >= 0) & (weight <= 1)).all()
    assert (weight == 0).any() and (weight == 1).any()
    chance = chance_of_weight(logit, 0.5)[0].item()
    assert abs((weight > 0).float().mean().item() - chance) < 0.015
    weight.sum().backward()
    assert logit.grad.any() and torch.isfinite(logit.grad).all()


def test_low_temperatures_make_coin_tosses():
    logit = torch.full((20_000,), 1.0)
    weight = hard_concrete(logit, 0.01, new())
    assert ((weight == 0) | (weight == 1)).float().mean() > 0.95
    assert abs(weight.mean() - logit[0].sigmoid()) < 0.02


def test_concrete_mask_draws_pairs_together_anneals_and_repeats():
    data = random_graph()
    mask = ConcreteMask(EdgeScorer(10, 8), start=1.0, end=0.1)
    pair, _ = undirected_pairs(data.edge_index, data.num_nodes)
    weight = mask(data.edge_index, data.x, new(5), pair)
    back = {(i, j): w for (i, j), w in zip(data.edge_index.T.tolist(), weight.tolist(), strict=True)}
    assert all(back[j, i] == w for (i, j), w in back.items())
    assert torch.equal(weight, mask(data.edge_index, data.x, new(5), pair))
    assert not torch.equal(weight, mask(data.edge_index, data.x, new(6), pair))
    mask.progress = 0.5
    assert mask.temperature == pytest.approx(0.1**0.5)
    with pytest.raises(InputError, match="give it a generator"):
        mask(data.edge_index, data.x)
    mask.eval()
    assert torch.equal(mask(data.edge_index, data.x), mask(data.edge_index, data.x))


def test_the_budget_is_learned():
    data = random_graph()
    mask = ConcreteMask(EdgeScorer(10, 8), start=0.5)
    optimizer = torch.optim.Adam(mask.parameters(), lr=0.05)
    for _ in range(100):
        loss = mask.budget_loss(data.edge_index, data.x, budget=0.3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    kept = chance_of_weight(mask.scorer(data.edge_index, data.x), mask.temperature).mean()
    assert kept < 0.33


@pytest.mark.parametrize("make", [lambda: PersonalizedPageRank(0.2, top_k=9), lambda: LowRankEdges(4, generator=new())])
def test_views_of_the_whole_graph_read_its_weights(make):
    data = random_graph()
    plain = make()(data)
    data.edge_weight = torch.ones(data.num_edges)
    same = make()(data)
    assert torch.equal(same.edge_index, plain.edge_index)
    assert torch.equal(same.edge_weight, plain.edge_weight)
    gone = (data.edge_index == data.edge_index[:, :1]).all(0) | (data.edge_index == data.edge_index[:, :1].flip(0)).all(
        0
    )
    data.edge_weight[gone] = 0.0
    without = data.clone()
    without.edge_index, without.edge_weight = data.edge_index[:, ~gone], None
    weighed, removed = make()(data), make()(without)
    if "rank" not in vars(make()):  # a low-rank graph keeps as many edges as are listed
        assert torch.equal(weighed.edge_index, removed.edge_index)
        torch.testing.assert_close(weighed.edge_weight, removed.edge_weight)
    assert not torch.equal(weighed.edge_weight, plain.edge_weight)


def test_a_series_without_end_is_refused():
    with pytest.raises(InputError, match="raise either"):
        PersonalizedPageRank(1e-12)


def test_a_budget_without_edges():
    mask = ConcreteMask(EdgeScorer(3, 4))
    nothing, h = torch.zeros(2, 0, dtype=torch.long), torch.ones(5, 3)
    assert mask.budget_loss(nothing, h, 0.5) == 0
    with pytest.raises(InputError, match="without edges"):
        mask.set_budget(nothing, h, 0.5)


@pytest.mark.parametrize("ends", [{"start": 0.0}, {"end": -1.0}])
def test_temperatures_that_are_none_are_refused(ends):
    with pytest.raises(InputError, match="temperatures must be above 0"):
        ConcreteMask(EdgeScorer(3, 4), **ends)
