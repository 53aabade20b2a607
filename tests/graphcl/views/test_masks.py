"""Learnable masks against dense formulas."""

import pytest
import torch
import torch.nn.functional as F

from graphcl.errors import InputError
from graphcl.ops import SparseMatrix, spmm
from graphcl.views.masks import adaptive_mask, cosine_mask, cosine_propagation

EDGES = torch.tensor([[0, 1, 1, 2, 2, 4, 0], [1, 2, 4, 3, 4, 4, 3]])
"""Node 5 is isolated, node 4 has a loop."""


def graph() -> SparseMatrix:
    both = torch.cat([EDGES, EDGES.flip(0)], 1).unique(dim=1)
    return SparseMatrix.from_edges(both, shape=6).double()


def dense_mask(matrix: SparseMatrix, h: torch.Tensor) -> torch.Tensor:
    unit = F.normalize(h, dim=1)
    return torch.where(matrix.dense() > 0, (1 + unit @ unit.T) / 2, 0.0)


def table(width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, width, generator=generator, dtype=torch.float64, requires_grad=True)


def test_masks_equal_the_dense_formula():
    matrix, h = graph(), table(3, 0)
    expected = dense_mask(matrix, h)
    torch.testing.assert_close(cosine_mask(matrix, h), expected[matrix.row, matrix.col])
    rows = expected / expected.sum(1, keepdim=True).clamp(min=1e-300)
    torch.testing.assert_close(adaptive_mask(matrix, h), rows[matrix.row, matrix.col])


def test_fused_propagation_equals_mask_then_product_and_its_gradients():
    matrix, h, x = graph(), table(3, 0), table(4, 1)
    fused = cosine_propagation(matrix, h, x)
    parts = spmm(matrix, x, adaptive_mask(matrix, h))
    torch.testing.assert_close(fused, parts)
    assert not fused[5].any()
    seed = table(4, 2).detach()
    for one, other in zip(
        torch.autograd.grad(fused, [h, x], seed), torch.autograd.grad(parts, [h, x], seed), strict=True
    ):
        torch.testing.assert_close(one, other)
    assert torch.autograd.gradcheck(lambda h, x: cosine_propagation(matrix, h, x), (h, x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_zero_rows(dtype):
    matrix, x = graph().float(), table(4, 1).detach().float()
    assert (cosine_mask(matrix, torch.zeros(6, 3, dtype=dtype)) == 0.5).all()
    h = table(3, 0).detach().to(dtype)
    exact = cosine_propagation(matrix, h.float(), x)
    torch.testing.assert_close(cosine_propagation(matrix, h, x), exact)
    half = cosine_propagation(matrix, h, x.to(dtype))
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), exact, rtol=0.02, atol=0.02)
    torch.testing.assert_close(adaptive_mask(matrix, h), adaptive_mask(matrix, h.float()).to(dtype), rtol=0, atol=0)


def test_opposite_neighbours_leave_a_row_empty_without_nan():
    matrix = SparseMatrix.from_edges(torch.tensor([[0, 1], [1, 0]]), shape=2).double()
    h = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    out = cosine_propagation(matrix, h, torch.ones(2, 2, dtype=torch.float64))
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert torch.isfinite(h.grad).all()


def test_a_directed_graph_is_refused():
    with pytest.raises(InputError, match="both directions"):
        cosine_propagation(SparseMatrix.from_edges(EDGES, shape=6), torch.ones(6, 2), torch.ones(6, 2))
