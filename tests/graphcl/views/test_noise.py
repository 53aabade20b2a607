"""Noise on embeddings."""

import torch

from graphcl.views.noise import signed_noise


def test_every_row_moves_by_the_size_within_its_orthant():
    x = torch.randn(50, 6, dtype=torch.float64, requires_grad=True)
    moved = signed_noise(x, 0.3, torch.Generator().manual_seed(0))
    torch.testing.assert_close((moved - x).norm(dim=1), torch.full((50,), 0.3, dtype=torch.float64))
    assert torch.equal(moved.sign(), x.sign())
    moved.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x))
