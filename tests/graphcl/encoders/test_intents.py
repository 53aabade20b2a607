"""Mixtures of prototypes."""

import torch

from graphcl.encoders import intents


def test_blocks_equal_the_formula_with_gradients(monkeypatch):
    monkeypatch.setattr(intents, "_CELLS", 20)  # four rows of five prototypes
    x = torch.randn(10, 3, dtype=torch.float64, requires_grad=True)
    prototypes = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(intents.intent_mixture(x, prototypes), (x @ prototypes).softmax(1) @ prototypes.T)
    assert torch.autograd.gradcheck(intents.intent_mixture, (x, prototypes))
