"""The collapse monitor: right numbers, and no trace in the training."""

import pytest
import torch
from worlds import checkerboard

from graphcl.evaluation.diagnostics import spread
from graphcl.training.shares import gradient_shares, undisturbed
from recsys.evaluation.collapse import CollapseMonitor
from recsys.experiment import Experiment
from recsys.models import MODELS
from recsys.models.graph import GraphRecommender
from recsys.report import curves

GRAPH_MODELS = [name for name, model in MODELS.items() if issubclass(model, GraphRecommender)]
SMALL = {"ncl": {"warmup_epochs": 0, "n_clusters": 3}, "dccf": {"n_intents": 3}, "lightgcl": {"drop_ratio": 0.3}}
SEQUENTIAL = [("sasrec", {}), pytest.param("icsrec", {"n_intents": 3}, marks=pytest.mark.slow)]


def trained(name, keys, every):
    """The epochs' records and the model."""
    experiment = Experiment.load(
        {
            "model": {"kind": name, "embedding_size": 8, **keys},
            "training": {"epochs": 2, "train_batch_size": 64, "learning_rate": 0.01},
            "evaluation": {"collapse_every": every, "report": ["ndcg@10"]},
            "device": "cpu",
        }
    )
    split, lines = checkerboard(), []
    model = experiment.build(split.train)
    experiment.fit(model, split, log=lines.append)
    return lines, model, experiment


@pytest.mark.parametrize(("name", "keys"), [(name, SMALL.get(name, {})) for name in GRAPH_MODELS] + SEQUENTIAL)
def test_looking_changes_nothing(name, keys):
    silent, without, experiment = trained(name, keys, 0)
    watched, model, same = trained(name, keys, 1)
    assert experiment.digest == same.digest
    for with_it, without_it in zip(watched, silent, strict=True):
        assert with_it["losses"] == without_it["losses"]
        assert with_it["metrics"] == without_it["metrics"]
        assert with_it["gradient_norm"] == without_it["gradient_norm"]
        assert "collapse" not in without_it
        assert set(with_it["gradient_shares"]) == set(with_it["losses"])
        assert sum(with_it["gradient_shares"].values()) == pytest.approx(1)
        assert set(with_it["collapse"]) == {
            "alignment",
            *(f"{side}_{what}" for side in ("user", "item") for what in ("uniformity", "effective_rank")),
        }
    for ours, theirs in zip(model.state_dict().values(), without.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_interval_is_kept_and_the_report_shows_it():
    lines, *_ = trained("mf", {}, 2)
    assert ["collapse" in line for line in lines] == [True, False]
    page = "".join(curves(lines))
    assert "effective rank" in page
    assert "share of the gradient" in page
    assert "effective rank" not in "".join(curves(trained("mf", {}, 0)[0]))


def test_numbers_are_those_of_the_vectors():
    data = checkerboard().train
    model = MODELS["mf"](data, MODELS["mf"].Config(embedding_size=4))
    found = CollapseMonitor(model, data, every=1, batch_size=16).spread()
    users, items = model.halves(model.embedding.detach())
    touched = items[data.item_counts > 0]
    assert found["user_effective_rank"] == pytest.approx(spread(users).effective_rank, rel=1e-5)
    assert found["item_uniformity"] == pytest.approx(spread(touched).uniformity, rel=1e-5)
    with torch.no_grad():
        model.embedding.copy_(torch.ones_like(model.embedding))
    gone = CollapseMonitor(model, data, every=1, batch_size=16).spread()
    assert gone["alignment"] == pytest.approx(0, abs=1e-6)
    assert gone["item_effective_rank"] == pytest.approx(1, abs=1e-3)
    assert gone["user_uniformity"] == pytest.approx(0, abs=1e-5)


def test_shares_are_norms_of_gradients():
    data = checkerboard().train
    model = MODELS["lightgcn"](data, MODELS["lightgcn"].Config(embedding_size=4, reg_weight=0.5))
    batch = next(model.sampler().batches(32, torch.Generator().manual_seed(0)))
    norms = {}
    for name in ("bpr", "reg"):
        model.zero_grad()
        model(batch, "all")[name].backward()
        norms[name] = float(model.embedding.grad.norm())
    model.zero_grad()
    shares = gradient_shares(model, batch)
    assert shares == pytest.approx({name: norm / sum(norms.values()) for name, norm in norms.items()}, rel=1e-5)
    assert model.embedding.grad is None


def test_undisturbed_puts_generators_and_buffers_back():
    data = checkerboard().train
    model = MODELS["ncl"](data, MODELS["ncl"].Config(embedding_size=4, n_clusters=3))
    before = torch.get_rng_state(), model.generator.get_state(), int(model.epoch)
    model.eval()
    with undisturbed(model):
        model.train()
        torch.rand(3)
        torch.rand(3, generator=model.generator)
        model.epoch += 5
    after = torch.get_rng_state(), model.generator.get_state(), int(model.epoch)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert before[2] == after[2]
    assert not model.training
