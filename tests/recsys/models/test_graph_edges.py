"""Every graph model at the edges of what a graph and a configuration can be."""

from dataclasses import fields

import pytest
import torch

from graphcl.errors import InputError
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models import MODELS
from recsys.models.base import no_items
from recsys.models.graph import GraphRecommender

GRAPH_MODELS = [name for name, model in MODELS.items() if issubclass(model, GraphRecommender)]
TEMPERED = [name for name in GRAPH_MODELS if "temperature" in {field.name for field in fields(MODELS[name].Config)}]
USERS, ITEMS = 9, 8
SMALL = {"embedding_size": 4, "n_intents": 50, "n_clusters": 50, "warmup_epochs": 0}
"""More intents and clusters than users."""


def world(times: int = 1) -> Interactions:
    """The last user and the last item are isolated; every event is given `times` over."""
    generator = torch.Generator().manual_seed(0)
    key = torch.randint((USERS - 1) * (ITEMS - 1), (30,), generator=generator).unique().repeat(times)
    user, item = key // (ITEMS - 1), key % (ITEMS - 1)
    return Interactions(user=user, item=item, num_users=USERS, num_items=ITEMS)


BATCH = Triples(
    torch.tensor([0, 3, 3, USERS - 1]), torch.tensor([1, 2, ITEMS - 1, 1]), torch.tensor([[5], [ITEMS - 1], [5], [0]])
)
"""With the isolated user, and the isolated item on both sides."""


def make(name: str, train: Interactions, **more) -> GraphRecommender:
    known = {field.name for field in fields(MODELS[name].Config)}
    torch.manual_seed(0)
    keys = {key: value for key, value in (SMALL | more).items() if key in known}
    model = MODELS[name](train, MODELS[name].Config(**keys))
    model.generator.manual_seed(0)
    with torch.no_grad():
        model.eval().begin_epoch(model.sampler())
    return model.train()


def losses_and_gradients(model: GraphRecommender) -> list[torch.Tensor]:
    terms = list(model(BATCH, "all").values())
    torch.stack(terms).sum().backward()
    return [*terms, *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("name", GRAPH_MODELS)
def test_isolated_nodes_train_and_are_scored_without_nan(name):
    model = make(name, world())
    assert all(torch.isfinite(value).all() for value in losses_and_gradients(model))
    index = model.eval().index()
    everyone = torch.arange(USERS)
    assert torch.isfinite(index.score(everyone, no_items(USERS, everyone.device))).all()


@pytest.mark.parametrize("name", GRAPH_MODELS)
def test_duplicate_events_change_nothing(name):
    once, twice = (losses_and_gradients(make(name, world(times))) for times in (1, 2))
    for ours, theirs in zip(twice, once, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", TEMPERED)
def test_tiny_temperatures_stay_finite(name):
    assert all(torch.isfinite(value).all() for value in losses_and_gradients(make(name, world(), temperature=1e-3)))


@pytest.mark.parametrize("name", GRAPH_MODELS)
@pytest.mark.parametrize(("num_users", "num_items"), [(0, 8), (9, 0), (9, 8)])
def test_an_empty_side_or_graph_is_refused_in_words(name, num_users, num_items):
    nothing = torch.empty(0, dtype=torch.long)
    train = Interactions(user=nothing, item=nothing, num_users=num_users, num_items=num_items)
    with pytest.raises(InputError, match="nothing to compare"):
        MODELS[name](train, MODELS[name].Config()).sampler()
