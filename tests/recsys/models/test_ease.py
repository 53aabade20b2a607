"""EASE against the conditions that define its optimum."""

import pytest
import torch

from graphcl.errors import InputError
from recsys.data.interactions import Interactions
from recsys.models.ease import EASE


def world(num_items=25):
    g = torch.Generator().manual_seed(3)
    return Interactions(
        user=torch.randint(40, (400,), generator=g),
        item=torch.randint(num_items, (400,), generator=g),
        num_users=40,
        num_items=num_items,
    )


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_the_gradient_vanishes_off_the_diagonal(precision):
    train = world()
    model = EASE(train, EASE.Config(reg_weight=3.0, precision=precision))
    model.begin_epoch(model.sampler())
    X = torch.zeros(40, 25, dtype=torch.float64)
    X[train.user, train.item] = 1
    B = model.weights.double()
    assert (B.diagonal() == 0).all()
    gradient = X.T @ (X @ B - X) + 3.0 * B
    assert gradient.fill_diagonal_(0).abs().max() < 1e-4
    assert B.abs().max() > 0.05
    torch.testing.assert_close(
        model.index().score(torch.arange(40), train.histories).double(), X @ B, atol=1e-5, rtol=1e-5
    )


def test_a_ridge_that_vanishes_beside_the_counts_is_named():
    twins = Interactions(
        user=torch.arange(1000).repeat(2), item=torch.arange(2).repeat_interleave(1000), num_users=1000, num_items=2
    )
    model = EASE(twins, EASE.Config(reg_weight=1e-7))
    with pytest.raises(InputError, match="reg_weight: 1e-07 is too small to invert the matrix in fp32"):
        model.begin_epoch(model.sampler())
