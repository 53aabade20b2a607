"""Next items learned by an objective from the batch alone."""

import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from worlds import cycle

from graphcl.training.loop import Training, fit
from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import rank
from recsys.models.contrastive_sequence import ContrastiveSequence, Name
from recsys.models.objective import CLUSTERED, Objective, ObjectiveKeys
from recsys.sequences.sampler import Sequences

SMALL = {"embedding_size": 16, "inner_size": 32, "n_layers": 1, "hidden_dropout": 0.0, "attention_dropout": 0.0}
every_objective = pytest.mark.parametrize("objective", get_args(Name))


def make(**keys):
    torch.manual_seed(0)
    keys = SMALL | {"n_clusters": 4, "queue_size": 64} | keys
    return ContrastiveSequence(cycle().train, ContrastiveSequence.Config(**keys))


def batch_of(targets):
    """One event of history per target."""
    target = torch.tensor(targets)
    history = Ragged((target + 1) % 5, torch.arange(len(target) + 1))
    return Sequences(torch.arange(len(target)), history, target, target.new_empty(len(target), 0))


def cosines(model, batch):
    return F.normalize(model.encode(batch.history)) @ F.normalize(model.items(batch.target)).T


@pytest.mark.parametrize("objective", sorted(set(get_args(Name)) - {"barlow_twins", "vicreg"}))  # they know no negative
def test_it_learns_what_follows(objective):
    split, model = cycle(), make(objective=objective, n_clusters=25)
    fit(model, Training(epochs=30, train_batch_size=16, learning_rate=0.02, patience=30), seed=0)
    found = rank(model.index(), split.train + split.valid, split.test, 1, mask_history=False)
    assert measure(found, ["recall@1"])["recall@1"] > 0.9


@every_objective
@pytest.mark.parametrize("samples", ["user", "prefix"])
def test_the_objective_reaches_every_parameter(objective, samples):
    model = make(objective=objective, samples=samples)
    sampler = model.sampler()
    with torch.no_grad():
        model.begin_epoch(sampler)
    batch = next(iter(sampler.batches(32, torch.Generator().manual_seed(0))))
    model(batch, "all")["next_item"].backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key
    assert (model.clusters is not None) == (objective in CLUSTERED)


def test_events_of_one_item_are_no_negatives_of_each_other():
    model, batch = make(temperature=0.3), batch_of([0, 1, 0, 2])
    logits = cosines(model, batch) / 0.3
    same = torch.tensor([[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    expected = logits.masked_fill(same, -torch.inf).logsumexp(1) - logits.diagonal()
    torch.testing.assert_close(model(batch, "all")["next_item"], expected.mean())


def test_supcon_takes_them_for_positives():
    model, batch = make(objective="supcon"), batch_of([0, 1, 0, 2])
    views = F.normalize(torch.cat([model.encode(batch.history), model.items(batch.target)]))
    logits = (views @ views.T / 0.2).fill_diagonal_(-torch.inf)
    label = batch.target.repeat(2)
    positive = (label[:, None] == label) & ~torch.eye(8, dtype=torch.bool)
    log_share = logits - logits.logsumexp(1, keepdim=True)
    expected = -(log_share.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()
    torch.testing.assert_close(model(batch, "all")["next_item"], expected)


def test_corrected_weighs_candidates_by_their_rarity():
    model, batch = make(objective="corrected"), batch_of([0, 1, 2])
    model.rarity[:3] = torch.tensor([1.0, 0.5, 0.25])
    logits = cosines(model, batch) / 0.2
    expected = (logits + model.rarity[:3].log()).logsumexp(1) - logits.diagonal()
    torch.testing.assert_close(model(batch, "all")["next_item"], expected.mean())


def test_rarity_is_the_inverse_of_the_count():
    model = make(objective="corrected")
    count = torch.bincount(model.histories.values, minlength=model.num_items)
    assert torch.equal(model.rarity * count, torch.ones(model.num_items)) and count.unique().numel() > 1


@pytest.mark.parametrize(
    "name", ["infonce", "corrected", "ntxent", "dcl", "dclw", "debiased", "hard_negatives", "momentum", "jsd"]
)
def test_how_alike_two_events_of_one_item_are_does_not_matter(name):
    """Turning view 1 towards event 0, and towards nothing else, changes the loss only where their items differ."""
    axis = torch.eye(8, dtype=torch.double)
    a = axis[:3]

    def loss(rows, turn):
        objective = Objective(name, ObjectiveKeys(queue_size=8), 8, repeat=True)
        aside = turn * axis[0] + (1 - turn**2) ** 0.5 * axis[6]
        b = torch.stack([axis[0] + axis[4], axis[1] + aside, axis[2] + axis[5]]) / 2**0.5
        return objective(a, b, torch.tensor(rows), candidate_weight=torch.ones(3))

    torch.testing.assert_close(loss([5, 5, 6], 0.8), loss([5, 5, 6], 0.0))
    assert (loss([5, 7, 6], 0.8) - loss([5, 7, 6], 0.0)).abs() > 1e-3


@pytest.mark.parametrize("name", ["debiased", "hard_negatives"])
def test_without_unseen_positives_and_stress_the_loss_is_nt_xent(name):
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 6, 8, dtype=torch.double, generator=draw)
    plain, other = (
        Objective(key, ObjectiveKeys(tau_plus=0.0, beta=0.0), 8, repeat=True)(a, b, torch.tensor([5, 7, 6, 5, 2, 1]))
        for key in ("ntxent", name)
    )
    torch.testing.assert_close(other, plain)


@pytest.mark.parametrize(("gap", "pushes"), [(0.9, True), (1.1, False)])
def test_tau_plus_says_how_far_negatives_push(gap, pushes):
    """All negatives at right angles: the debiased loss lets them go at the cosine -temperature * log(tau_plus)."""
    keys = ObjectiveKeys(temperature=0.2, tau_plus=0.1)
    cosine = -gap * keys.temperature * math.log(keys.tau_plus)
    axis = torch.eye(8, dtype=torch.double)
    a = axis[:3].clone().requires_grad_()
    b = cosine * axis[:3] + (1 - cosine**2) ** 0.5 * axis[3:6]
    Objective("debiased", keys, 8)(a, b, torch.arange(3)).backward()
    assert ((a.grad[0, 1:3] != 0) == pushes).all()


def test_an_item_counts_by_its_direction():
    model = make()
    history = Ragged(torch.tensor([1, 2]), torch.tensor([0, 2]))
    before = model.index()
    with torch.no_grad():
        model.items.weight[3] *= 7
    after = model.index()
    user = torch.zeros(1, dtype=torch.long)
    torch.testing.assert_close(before.score(user, history), after.score(user, history))


@every_objective
def test_one_event_alone_has_nothing_to_be_told_from(objective):
    model = make(objective=objective)
    loss = model(batch_of([2]), "all")["next_item"]
    assert loss == 0
    loss.backward()  # a last batch may hold one event, and is trained on like any other
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@every_objective
def test_events_of_a_single_item_are_finite(objective):
    model = make(objective=objective)
    with torch.no_grad():
        model.begin_epoch(model.sampler())
    loss = model(batch_of([2, 2, 2]), "all")["next_item"]
    assert torch.isfinite(loss)
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
