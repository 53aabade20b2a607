"""Diagnostics by hand."""

import math

import pytest
import torch

from graphcl.evaluation.diagnostics import effective_rank, spread


def test_collapse_is_seen():
    point = torch.ones(50, 4)
    healthy = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert spread(point) == pytest.approx((0, 1), abs=1e-3)
    uniform, rank = spread(healthy)
    assert uniform < -1.5
    assert rank > 3.5
    assert spread(7 * healthy) == pytest.approx((uniform, rank), abs=1e-5)
    assert spread(point[:1]) == pytest.approx((0, 1), abs=1e-3)


def test_effective_rank_by_hand():
    assert effective_rank(torch.eye(5)) == pytest.approx(5)
    assert effective_rank(torch.zeros(3, 2)) == 0
    shares = torch.tensor([0.75, 0.25], dtype=torch.float64)
    expected = math.exp(-float((shares * shares.log()).sum()))
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(expected)
