"""Attraction and repulsion, group ordering, tempered NT-Xent, circle loss, whitening: identities and mistakes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives import (
    NTXent,
    alignment_tempered,
    attraction_repulsion,
    attraction_repulsion_to_keys,
    circle,
    group_ordering,
    group_whitening,
)
from graphcl.objectives.attraction import expected_similarity
from graphcl.objectives.ordering import soft_sort


def rows(count: int, size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, size, generator=generator, dtype=torch.float64), dim=1)


def views(count: int, *, n: int = 9, size: int = 4) -> list[Tensor]:
    return [rows(n, size, seed).requires_grad_() for seed in range(count)]


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("sharpness", [0.0, 0.7, 5.0])
def test_the_streamed_expectation_is_the_dense_one(sharpness, detach):
    x, y = rows(9, 4, 0).requires_grad_(), rows(9, 4, 1).requires_grad_()
    similarity = (x @ y.T)[~torch.eye(9, dtype=torch.bool)].view(9, 8)
    chance = (sharpness * (similarity.detach() if detach else similarity)).softmax(1)
    dense = (chance * similarity).sum(1)
    found = expected_similarity(x, y, sharpness, detach_weights=detach)
    torch.testing.assert_close(found, dense)
    cotangent = torch.randn(9, dtype=torch.float64)
    for one, two in zip(torch.autograd.grad(found @ cotangent, (x, y)), torch.autograd.grad(dense @ cotangent, (x, y))):
        torch.testing.assert_close(one, two)


def test_without_weights_it_is_a_difference_of_mean_distances():
    a, b = views(2)
    distance = torch.cdist(a, b).square()
    near, far = distance.diagonal().mean(), distance[~torch.eye(9, dtype=torch.bool)].mean()
    torch.testing.assert_close(attraction_repulsion([a, b], attraction=0, repulsion=0), near - far)


def test_sharper_repulsion_looks_at_nearer_rows():
    z = views(3)
    values = [float(attraction_repulsion(z, repulsion=sharpness).detach()) for sharpness in (0.0, 1.0, 10.0, 100.0)]
    assert values == sorted(values)


@pytest.mark.parametrize(("length", "repulsion"), [(10.0, 0.9), (1.0, 100.0)])
def test_own_rows_overflow_no_gradient(length, repulsion):
    z = [(length * F.normalize(view.detach().float(), dim=1)).requires_grad_() for view in views(3)]
    attraction_repulsion(z, repulsion=repulsion).backward()
    assert all(torch.isfinite(view.grad).all() for view in z)


def test_keys_are_constants_and_weights_are_too():
    first, second, key = views(3)
    attraction_repulsion_to_keys([first, second], key).backward()
    assert key.grad is None and first.grad.abs().sum() > 0


@pytest.mark.parametrize("keys", [{"attraction": 2.0, "repulsion": 3.0}, {"debias": 0.2}])
def test_gradients_of_attraction(keys):
    z = views(3, n=4, size=3)
    assert torch.autograd.gradcheck(lambda *parts: attraction_repulsion(parts, **keys), z)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: attraction_repulsion(views(1)), "at least two views"),
        (lambda: attraction_repulsion(views(2, n=1)), "of at least two rows"),
        (lambda: attraction_repulsion(views(2), debias=1.0), "debias is a share"),
        (lambda: group_ordering(views(1)), "at least two views"),
        (lambda: group_ordering(views(2), n_negatives=9), "between 1 and 8"),
        (lambda: group_whitening(rows(9, 4, 0), 3), "do not fall into 3 groups"),
        (lambda: group_whitening(rows(2, 4, 0), 2), "2 rows are too few to whiten 2 features"),
        (lambda: circle(rows(4, 4, 0), torch.arange(4)), "no row has both"),
    ],
)
def test_mistakes_are_named(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()


def test_the_soft_sort_is_doubly_stochastic_and_hard_where_it_is_steep():
    values = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    soft = soft_sort(values, 1.0)
    for axis in (-1, -2):
        torch.testing.assert_close(soft.sum(axis), torch.ones(5, 7, dtype=torch.float64))
    hard = soft_sort(values, 1e9)
    assert torch.equal(hard.argmax(-1), values.argsort(1).argsort(1))


def test_a_right_order_costs_less_the_steeper_the_sort():
    # rows of two views agree, all others are opposite or orthogonal
    base = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    losses = [float(group_ordering([base, base], n_negatives=4, steepness=s)) for s in (1, 4, 16, 64)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.01
    apart = [base, base.roll(1, 0)]
    assert float(group_ordering(apart, n_negatives=4, steepness=64)) > losses[-1]


def test_candidates_learn_only_if_they_may():
    z = views(2)
    (whole,) = torch.autograd.grad(group_ordering(z, n_negatives=3, detach_candidates=False), z[0])
    (anchors,) = torch.autograd.grad(group_ordering(z, n_negatives=3), z[0])
    assert not torch.allclose(whole, anchors)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        group_ordering([view[order] for view in z], n_negatives=3), group_ordering(z, n_negatives=3)
    )


def test_the_temperature_rises_with_alignment():
    a = rows(9, 4, 0)
    for b, aligned in ((a, 1.0), (-a, -1.0)):
        losses = NTXent(0.2 * (1 + 0.5 * aligned), reduction="none")(a, b)
        expected = (losses / (1 - (-losses).exp() + 1e-8)).mean()
        torch.testing.assert_close(alignment_tempered(a, b, temperature=0.2), expected)


@pytest.mark.parametrize(
    ("count", "labels", "scale"), [(12, 3, 8.0), (12, 3, 200.0), (1300, 500, 8.0), (1300, 2, 100.0)]
)
def test_circle_by_its_formula(count, labels, scale):
    x, labels = rows(count, 4, 0).requires_grad_(), torch.arange(count) % labels
    labels[5] = -7  # without a positive
    z = F.normalize(x, dim=1)
    s = z @ z.T
    same, own = labels[:, None] == labels, torch.eye(count, dtype=torch.bool)
    pull = (-scale * (1.25 - s.detach()).clamp(min=0) * (s - 0.75)).masked_fill(~same | own, -torch.inf).logsumexp(1)
    push = (scale * (s.detach() + 0.25).clamp(min=0) * (s - 0.25)).masked_fill(same, -torch.inf).logsumexp(1)
    expected = F.softplus(pull + push)[labels >= 0].mean()
    found = circle(x, labels, margin=0.25, scale=scale)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, x)[0], torch.autograd.grad(expected, x)[0])
    single = circle(x.detach().float(), labels, margin=0.25, scale=scale)
    torch.testing.assert_close(single.double(), expected.detach(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_whitened_groups_are_uncorrelated(groups):
    x = torch.randn(50, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) @ rows(8, 8, 1)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(2))
    y = group_whitening(x, groups, permutation=order, epsilon=0.0)[:, order]
    for part in y.view(50, groups, -1).transpose(0, 1):
        torch.testing.assert_close(part.T @ part / 50, torch.eye(8 // groups, dtype=torch.float64))


def test_groups_of_one_are_standardised_and_gradients_may_pass_the_matrix():
    x = torch.randn(20, 4, dtype=torch.float64, requires_grad=True)
    expected = (x - x.mean(0)) / x.std(0, correction=0)
    torch.testing.assert_close(group_whitening(x, 4, epsilon=0.0), expected)
    assert torch.autograd.gradcheck(lambda part: group_whitening(part, 2, detach=False), x)
    flat = (rows(64, 2, 1) * 100 @ rows(2, 8, 2)).float()  # of rank two: the least eigenvalues may be below 0
    assert group_whitening(flat, 1).isfinite().all()
    assert not torch.autograd.gradcheck(lambda part: group_whitening(part, 2), x, raise_exception=False)
