"""Propagation, and PyG modules in its place."""

import torch
from torch_geometric.nn import LGConv, SAGEConv

from graphcl.encoders.light import layers, light, perturbed
from graphcl.encoders.wrapper import PyGEncoder
from graphcl.ops import SparseMatrix
from graphcl.views.noise import signed_noise


def directed() -> SparseMatrix:
    """Row i receives from column j; not symmetric, so that directions matter."""
    edges = torch.tensor([[0, 0, 1, 3, 4], [1, 2, 4, 0, 3]])
    return SparseMatrix.from_edges(edges, torch.tensor([0.5, 2.0, 1.0, 3.0, 0.1]), shape=5)


def test_light_is_the_mean_of_powers():
    matrix, x = directed(), torch.randn(5, 3)
    dense = matrix.dense()
    torch.testing.assert_close(light(matrix, x, 2), (x + dense @ x + dense @ dense @ x) / 3)
    torch.testing.assert_close(light(matrix, x, 0), x)


def test_every_layer_may_have_its_own_matrix_and_view():
    one, x = directed(), torch.randn(5, 3)
    other = one.with_value(torch.ones(5))
    found = layers([one, other], x, 2, view=lambda table: table + 1)
    torch.testing.assert_close(found[2], other.dense() @ (one.dense() @ x + 1) + 1)


def test_noisy_layers_follow_from_the_clean_ones_in_value_and_gradient():
    generator, matrix = torch.Generator().manual_seed(0), directed()
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = [torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(4)]

    def view(table):
        return signed_noise(table, 0.3, generator)

    found = []
    for propagate in (
        lambda: layers(matrix, x, 3, view=view),
        lambda: perturbed(matrix, layers(matrix, x, 3), view),
    ):
        generator.manual_seed(1)
        tables = propagate()
        (gradient,) = torch.autograd.grad(sum((a * b).sum() for a, b in zip(tables, weight, strict=True)), x)
        found.append((*tables, gradient))
    for direct, shared in zip(*found, strict=True):
        torch.testing.assert_close(shared, direct, rtol=0, atol=1e-12)
    assert not torch.allclose(found[0][1], layers(matrix, x, 3)[1])


def test_pyg_modules_receive_the_right_direction_and_weights():
    matrix, x = directed(), torch.randn(5, 3)
    encoder = PyGEncoder(LGConv(normalize=False), weighted=True)
    torch.testing.assert_close(encoder(x, matrix), matrix.dense() @ x)
    sage = SAGEConv(3, 2, aggr="sum", root_weight=False, bias=False)
    pattern = (matrix.dense() > 0).float()
    torch.testing.assert_close(PyGEncoder(sage)(x, matrix), pattern @ x @ sage.lin_l.weight.T)
