"""A gate that prunes dimensions."""

import pytest
import torch

from graphcl.errors import InputError
from graphcl.views.gate import InformationGate, gate_divergence


def test_a_gate_is_noisy_in_training_and_exact_in_evaluation():
    gate = InformationGate(4, generator=torch.Generator().manual_seed(0))
    x = torch.ones(3, 4)
    first, second = (gate(x, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert not torch.equal(first, second)
    assert torch.equal(first, gate(x, torch.Generator().manual_seed(1)))
    assert torch.equal(first[0], first[1])  # one gate for all rows
    with torch.no_grad():
        gate.mean[1] = 1e-4
    assert gate.eval()(x)[:, 1].eq(0).all() and gate(x)[:, [0, 2, 3]].ne(0).all()
    with pytest.raises(InputError, match="generator"):
        gate.train()(x)


def test_a_higher_threshold_keeps_more():
    generator = torch.Generator().manual_seed(0)
    counts = []
    for threshold in (-12.0, -9.0, -6.0, 0.0):
        gate = InformationGate(64, threshold=threshold)
        with torch.no_grad():
            gate.mean.copy_(torch.randn(64, generator=generator.manual_seed(0)))
        counts.append(int(gate.kept.sum()))
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_only_a_gate_without_signal_costs_nothing():
    noise = torch.zeros(5, dtype=torch.float64)
    assert gate_divergence(noise, noise) == 0
    mean = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert gate_divergence(mean, noise) > 0
    assert torch.autograd.gradcheck(gate_divergence, (mean, noise.clone().requires_grad_()))
