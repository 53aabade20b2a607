"""Hand-counted lists, and random ones against ranx and torch_geometric."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import InputError
from recsys.evaluation.metrics import PER_USER, measure, parse, per_user
from recsys.evaluation.ranking import Ranking


def ranking_of(items, hit, relevant, num_items, negatives=None):
    items = torch.tensor(items)
    return Ranking(
        users=torch.arange(len(items)) * 10,
        items=items,
        hit=torch.tensor(hit, dtype=torch.bool),
        relevant=torch.tensor(relevant),
        num_items=num_items,
        k=items.shape[1],
        mask_history=True,
        repeats="masked",
        num_candidates=num_items,
        cold_users=0,
        cold_items=0,
        negatives=negatives,
    )


TWO_USERS = ranking_of([[4, 2, 0, 1], [4, 5, 5, 5]], [[0, 1, 0, 1], [0, 0, 0, 0]], [3, 1], num_items=5)
"""The second user has one candidate left; 5 marks free places."""


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("recall@4", 2 / 3),
        ("recall@1", 0),
        ("recall@2", 1 / 3),
        ("precision@4", 2 / 4),
        ("hit@2", 1),
        ("mrr@4", 1 / 2),
        ("mrr@1", 0),
        ("map@4", (1 / 2 + 2 / 4) / 3),
        ("map@2", (1 / 2) / 2),
        ("ndcg@4", (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / 2)),
        ("ndcg@2", (1 / math.log2(3)) / (1 + 1 / math.log2(3))),
    ],
)
def test_hand_counted_users(name, first):
    values = per_user(TWO_USERS, [name])
    assert values.index.tolist() == [0, 10]
    assert values[name].tolist() == pytest.approx([first, 0], abs=1e-15)
    assert measure(TWO_USERS, [name])[name] == pytest.approx(first / 2, abs=1e-15)


def test_hand_counted_lists():
    counts = torch.tensor([8, 1, 2, 100, 4])
    got = measure(TWO_USERS, ["coverage@4", "coverage@1", "gini@4", "gini@1", "popularity@2"], item_counts=counts)
    assert got["coverage@4"] == 4 / 5
    assert got["coverage@1"] == 1 / 5
    assert got["gini@1"] == pytest.approx(4 / 5)  # one item of five has everything
    # shown 1, 1, 1, 0, 2 times: sorted 0, 1, 1, 1, 2 with weights -4, -2, 0, 2, 4
    assert got["gini@4"] == pytest.approx((-2 + 0 + 2 + 8) / (5 * 5))
    assert got["popularity@2"] == pytest.approx(((4 + 2) / 2 + 4) / 2)
    assert per_user(TWO_USERS, ["popularity@2"], item_counts=counts)["popularity@2"].tolist() == [3, 4]


@st.composite
def rankings(draw):
    num_items, num_users = draw(st.integers(2, 40)), draw(st.integers(1, 8))
    k = draw(st.integers(1, num_items))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    items = torch.stack([torch.randperm(num_items, generator=g)[:k] for _ in range(num_users)])
    truth = torch.rand(num_users, num_items, generator=g) < draw(st.sampled_from([0.05, 0.4, 0.9]))
    truth[torch.arange(num_users), torch.randint(num_items, (num_users,), generator=g)] = True
    return ranking_of(items.tolist(), truth.gather(1, items).tolist(), truth.sum(1).tolist(), num_items), truth


def at_every_k(ranking):
    return [f"{kind}@{k}" for kind in PER_USER for k in sorted({1, ranking.k, max(1, ranking.k // 2)})]


@settings(deadline=None, max_examples=60)
@given(rankings())
def test_equal_to_torch_geometric(world):
    from torch_geometric import metrics as pyg

    ranking, truth = world
    oracle = {
        "recall": pyg.LinkPredRecall,
        "ndcg": pyg.LinkPredNDCG,
        "hit": pyg.LinkPredHitRatio,
        "mrr": pyg.LinkPredMRR,
        "map": pyg.LinkPredMAP,
        "precision": pyg.LinkPredPrecision,
    }
    for name, value in measure(ranking, at_every_k(ranking)).items():
        kind, k = parse(name)
        metric = oracle[kind](k=k)
        metric.update(ranking.items, truth.nonzero().T)
        assert value == pytest.approx(float(metric.compute()), abs=1e-5), name


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(rankings())
def test_equal_to_ranx(world):
    """ranx divides MAP by all true items, so that it agrees only where the list could hold them."""
    ranx = pytest.importorskip("ranx")
    ranking, truth = world
    qrels = ranx.Qrels({str(u): {f"i{i}": 1 for i in row.nonzero().flatten().tolist()} for u, row in enumerate(truth)})
    run = ranx.Run(
        {
            str(u): {f"i{i}": float(-place) for place, i in enumerate(row)}
            for u, row in enumerate(ranking.items.tolist())
        }
    )
    theirs = {"hit": "hit_rate"}
    for name, value in measure(ranking, at_every_k(ranking)).items():
        kind, k = parse(name)
        if kind == "map" and int(ranking.relevant.max()) > k:
            continue
        assert value == pytest.approx(ranx.evaluate(qrels, run, f"{theirs.get(kind, kind)}@{k}"), abs=1e-9), name


@settings(deadline=None, max_examples=60)
@given(rankings())
def test_bounds_and_monotony(world):
    ranking, _ = world
    values = per_user(ranking, at_every_k(ranking))
    assert ((values >= 0) & (values <= 1 + 1e-12)).all(axis=None)
    for kind in ("recall", "hit", "mrr"):
        assert (values[f"{kind}@1"] <= values[f"{kind}@{ranking.k}"]).all()
    lists = measure(ranking, [f"gini@{ranking.k}", f"coverage@{ranking.k}"])
    assert 0 <= lists[f"gini@{ranking.k}"] < 1
    assert 0 < lists[f"coverage@{ranking.k}"] <= 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("recal@10", "did you mean 'recall@10'?"),
        ("nDCG", "needs a length of list, for example ndcg@10"),
        ("recall@0", "needs a length of list"),
        ("recall@-3", "needs a length of list"),
        ("recall@x", "needs a length of list"),
        ("xyzzy@3", "known: coverage@3, gini@3"),
        ("recall@5", "needs lists of 5, these have 4; rank with k=5"),
        ("sampled_recall@4", "made over all candidates; ask for recall@4"),
        ("popularity@4", "pass item_counts"),
    ],
)
def test_mistakes_are_named(name, message):
    with pytest.raises(InputError) as caught:
        measure(TWO_USERS, [name])
    assert message in str(caught.value)


def test_lists_have_no_value_per_user():
    with pytest.raises(InputError, match="no value per user"):
        per_user(TWO_USERS, ["coverage@2"])


def test_sampled_rankings_answer_only_to_sampled_names():
    sampled = ranking_of([[1, 0]], [[1, 0]], [1], 5, negatives=1)
    assert measure(sampled, ["sampled_recall@2"]) == {"sampled_recall@2": 1.0}
    with pytest.raises(InputError, match="ask for sampled_recall@2"):
        measure(sampled, ["recall@2"])
