"""One encoder with every objective: each can be trained, and each means what its name says."""

from typing import get_args

import pytest
import torch
from worlds import checkerboard

from graphcl.objectives import InfoNCE
from graphcl.training.loop import Training, fit
from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import rank
from recsys.models.contrastive import Contrastive, Name
from recsys.models.objective import CLUSTERED
from recsys.models.simgcl import SimGCL

every_objective = pytest.mark.parametrize("objective", get_args(Name))


def make(seed=0, **keys):
    torch.manual_seed(seed)
    return Contrastive(checkerboard().train, Contrastive.Config(embedding_size=16, n_clusters=4, **keys))


@pytest.mark.parametrize("objective", ["prototypes", "momentum", "vicreg"])
def test_it_learns_the_world(objective):
    split = checkerboard()
    model = make(objective=objective, cl_weight=0.01, queue_size=64)
    fit(model, Training(epochs=12, train_batch_size=128, learning_rate=0.05, patience=12), seed=0)
    found = rank(model.index(), split.train + split.valid, split.test, 5, mask_history=True)
    assert measure(found, ["recall@5"])["recall@5"] > 0.9


@every_objective
def test_the_objective_reaches_every_parameter(objective):
    model = make(objective=objective, cl_weight=1.0)
    sampler = model.sampler()
    with torch.no_grad():
        model.begin_epoch(sampler)
    batch = next(iter(sampler.batches(64, torch.Generator().manual_seed(0))))
    model(batch, "all")["contrast"].backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key
    assert bool(model.clusters) == (objective in CLUSTERED)


def test_with_infonce_it_is_simgcl():
    torch.manual_seed(0)
    other = SimGCL(checkerboard().train, SimGCL.Config(embedding_size=16, n_layers=2, cl_weight=0.3, temperature=0.4))
    mine = make(cl_weight=0.3, temperature=0.4)
    batch = next(iter(mine.sampler().batches(64, torch.Generator().manual_seed(0))))
    for model in (mine, other):
        model.generator.manual_seed(1)
    for (name, value), (other_name, other_value) in zip(
        mine(batch, "all").items(), other(batch, "all").items(), strict=True
    ):
        assert name == other_name
        torch.testing.assert_close(value, other_value)


def test_the_queue_remembers_earlier_batches():
    model = make(objective="momentum", queue_size=50)
    batches = list(model.sampler().batches(8, torch.Generator().manual_seed(0)))[:3]
    seen = set()
    for batch in batches:
        model(batch, "all")
        seen |= set(batch.user.tolist())
        assert seen == set(model.objectives[0].queue.ids.tolist())


def test_no_weight_is_no_contrast():
    model = make(cl_weight=0.0)
    batch = next(iter(model.sampler().batches(8, torch.Generator().manual_seed(0))))
    assert set(model(batch, "all")) == {"bpr", "reg"}
    assert isinstance(model.objectives[0].loss, InfoNCE)


@every_objective
def test_a_batch_of_one_pair_has_nothing_to_contrast(objective):
    model = make(objective=objective, cl_weight=1.0)
    sampler = model.sampler()
    model.begin_epoch(sampler)
    batch = next(iter(sampler.batches(1, torch.Generator().manual_seed(0))))
    assert model(batch, "all")["contrast"] == 0
