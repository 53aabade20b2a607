"""Diagnostics by hand."""

import math

import pytest
import torch

from graphcl.evaluation.diagnostics import effective_rank, spread


def test_collapse_is_seen():
    generator = torch.Generator().manual_seed(0)
    point = torch.ones(50, 4)
    healthy = torch.randn(50, 4, generator=generator)
    pairs = torch.arange(25), torch.arange(25) + 25
    one, many = (spread(x, pairs, generator=generator) for x in (point, healthy))
    assert one.alignment == pytest.approx(0, abs=1e-6)
    assert one.uniformity == pytest.approx(0, abs=1e-5)
    assert one.effective_rank == pytest.approx(1, abs=1e-3)
    assert many.alignment > 1
    assert many.uniformity < -1.5
    assert many.effective_rank > 3.5
    assert math.isnan(spread(point, generator=generator).alignment)


def test_effective_rank_by_hand():
    assert effective_rank(torch.eye(5)) == pytest.approx(5)
    assert effective_rank(torch.zeros(3, 2)) == 0
    shares = torch.tensor([0.75, 0.25], dtype=torch.float64)
    expected = math.exp(-float((shares * shares.log()).sum()))
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(expected)
