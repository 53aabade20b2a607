"""One contract, every recommender: what the loop, the evaluator and a run folder rely on."""

import inspect
from copy import deepcopy
from dataclasses import fields, is_dataclass

import pytest
import torch
from worlds import checkerboard, cycle

from graphcl.training.learner import Learner
from graphcl.training.loop import Training, fit
from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import rank
from recsys.keys import describe
from recsys.models import MODELS
from recsys.models.base import UNKNOWN_USER, Recommender

HOOKS = {"__init__", "sampler", "learns", "begin_epoch"}
SMALL = {
    "embedding_size": 16,
    "hidden_size": 16,
    "inner_size": 32,
    "n_intents": 4,
    "max_length": 8,
    "n_clusters": 4,
    "cl_weight": 0.05,
}
WITHOUT_MASK = {"recency"}
"""Models that recommend what a user already had."""

every_model = pytest.mark.parametrize("name", MODELS)


def small(name, **more):
    known = {field.name for field in fields(MODELS[name].Config)}
    return MODELS[name].Config(**{key: value for key, value in (SMALL | more).items() if key in known})


def world(name):
    return cycle() if model_reads_histories(name) else checkerboard()


def model_reads_histories(name):
    return MODELS[name].task == "sequential"


def make(name, split, seed=0, **more):
    torch.manual_seed(seed)
    return MODELS[name](split.train, small(name, **more))


def trained(name, split, epochs, seed=0, **more):
    model = make(name, split, **more)
    rate = 0.01 if model_reads_histories(name) else 0.02
    fit(model, Training(epochs=epochs, train_batch_size=64, learning_rate=rate, patience=epochs), seed=seed)
    return model


def scores(model, split):
    with torch.no_grad():
        return model.index().score(torch.arange(split.train.num_users), split.train.histories)


@every_model
def test_a_class_is_abstract_or_final(name):
    """A model file reads alone: no concrete method of a base is overridden, but for the hooks."""
    model = MODELS[name]
    for base in model.__mro__[1:]:
        if not issubclass(base, Learner) or base is Learner:
            continue
        for method, function in vars(base).items():
            concrete = inspect.isfunction(function) and not getattr(function, "__isabstractmethod__", False)
            if concrete and method not in HOOKS:
                assert getattr(model, method) is function, f"{model.__name__} overrides {base.__name__}.{method}"


@every_model
def test_its_keys_are_explained(name):
    config = MODELS[name].Config
    assert is_dataclass(config) and config.__dataclass_params__.frozen
    for key in describe(config):
        assert key.meaning, f"{name}.{key.name} has no string below it"
    assert set(MODELS[name].suggested) <= {field.name for field in fields(Training)}
    assert inspect.getmodule(MODELS[name]).__doc__


@every_model
def test_every_phase_teaches_what_it_learns(name):
    split = world(name)
    model = make(name, split)
    sampler = model.sampler()
    with torch.no_grad():
        model.eval().begin_epoch(sampler)
    model.train()
    touched = set()
    for number, batch in enumerate(sampler.batches(64, torch.Generator().manual_seed(0))):
        for phase in model.phases:
            losses = model(batch, phase)
            assert losses and all(loss.dim() == 0 and torch.isfinite(loss) for loss in losses.values())
            model.zero_grad(set_to_none=True)
            sum(losses.values()).backward()
            learned = {id(parameter) for parameter in model.learns(phase)}
            for key, parameter in model.named_parameters():
                if id(parameter) in learned and parameter.grad is not None:
                    assert torch.isfinite(parameter.grad).all(), key
                    touched.add(key)
        if number == 2:
            break
    assert number + 1 <= max(1, sampler.steps(64)) if model.phases else True
    if model.phases:
        assert touched == {key for key, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", [name for name in MODELS if "cl_weight" in MODELS[name].Config.__dataclass_fields__])
def test_a_contrast_without_weight_is_not_computed(name):
    """`cl_weight: 0` switches the term off instead of multiplying it by 0."""
    split = world(name)
    for weight, there in ((0.05, True), (0.0, False)):
        model = make(name, split, cl_weight=weight)
        sampler = model.sampler()
        model.begin_epoch(sampler)
        batch = next(iter(sampler.batches(16, torch.Generator().manual_seed(0))))
        terms = {term for phase in model.phases for term in model(batch, phase)}
        assert ("contrast" in terms) is there, terms


@every_model
def test_the_sampler_counts_its_batches(name):
    sampler = make(name, world(name)).sampler()
    for size in (7, 64, 10_000):
        assert sampler.steps(size) == sum(1 for _ in sampler.batches(size, torch.Generator().manual_seed(0)))


@every_model
def test_the_same_seed_trains_the_same_and_weights_reload(name):
    split = world(name)
    first, second = trained(name, split, 2), trained(name, split, 2)
    assert torch.equal(scores(first, split), scores(second, split))
    fresh = make(name, split, seed=9)
    fresh.load_state_dict(first.state_dict())
    assert torch.equal(scores(fresh.eval(), split), scores(first, split))
    assert torch.equal(scores(deepcopy(first), split), scores(first, split))


@every_model
def test_it_learns_the_world(name):
    """Far above the popularity floor where popularity says nothing."""
    if name == "popularity":
        pytest.skip("it is the floor")
    split = world(name)
    masked = name not in WITHOUT_MASK and not model_reads_histories(name)
    truth = split.test if masked or model_reads_histories(name) else split.train
    known = split.train if truth is split.train else split.train + split.valid
    model = trained(name, split, 12 if model_reads_histories(name) else 30)
    found = measure(rank(model.index(), known, truth, 10, mask_history=masked), ["recall@10"])["recall@10"]
    assert found > 0.6, found


@every_model
@pytest.mark.parametrize("history", [[], [3], [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9]])
def test_strangers_get_finite_answers(name, history):
    split = world(name)
    model = trained(name, split, 1)
    index = model.index()
    rows = Ragged.of([history, [2]])
    rows = rows.last(index.length) if index.length else rows
    answer = index.score(torch.tensor([UNKNOWN_USER, 0]), rows)
    assert answer.shape == (2, split.train.num_items) and torch.isfinite(answer).all()


@every_model
def test_it_trains_in_half_precision(name):
    split = world(name)
    model = make(name, split)
    fit(model, Training(epochs=1, train_batch_size=64, learning_rate=0.01, precision="bf16"), seed=0)
    assert torch.isfinite(scores(model, split)).all()


@every_model
def test_its_task_is_said(name):
    assert issubclass(MODELS[name], Recommender) and MODELS[name].task in ("general", "sequential")
