"""Sparse products against dense ones, for every pattern that a graph can have."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.utils import softmax as pyg_softmax

from graphcl.errors import InputError
from graphcl.ops import (
    SparseMatrix,
    degree,
    edge_dot,
    has_scatter,
    normalize,
    segment_reduce,
    segment_softmax,
    spmm,
    symmetric_adjacency,
)

BACKENDS = [
    "native",
    pytest.param("scatter", marks=pytest.mark.skipif(not has_scatter(), reason="torch-scatter is not installed")),
]


def edges(num_rows: int, num_cols: int, count: int, seed: int = 0, index: torch.dtype = torch.int64) -> Tensor:
    """Random entries, duplicates and empty rows among them."""
    generator = torch.Generator().manual_seed(seed)
    row = torch.randint(num_rows, (count,), generator=generator)
    col = torch.randint(num_cols, (count,), generator=generator)
    return torch.stack([row, col]).to(index)


def undirected(num_nodes: int, count: int, seed: int = 0) -> Tensor:
    half = edges(num_nodes, num_nodes, count, seed)
    return torch.cat([half, half.flip(0)], 1).unique(dim=1)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 7),
    cols=st.integers(1, 7),
    count=st.integers(0, 20),
    width=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    index=st.sampled_from([torch.int32, torch.int64]),
    own=st.booleans(),
    transpose=st.booleans(),
)
def test_product_and_gradients_equal_the_dense_ones(rows, cols, count, width, dtype, index, own, transpose):
    generator = torch.Generator().manual_seed(count)
    edge_index = edges(rows, cols, count, index=index)
    matrix = SparseMatrix.from_edges(
        edge_index, torch.randn(count, generator=generator, dtype=dtype), shape=(rows, cols)
    )
    x = torch.randn(rows if transpose else cols, width, generator=generator, dtype=dtype, requires_grad=True)
    value = None if own else torch.randn(count, generator=generator, dtype=dtype, requires_grad=True)

    weight = matrix.value if value is None else value
    flat = matrix.row.long() * cols + matrix.col.long()
    dense = torch.zeros(rows * cols, dtype=dtype).index_add(0, flat, weight).view(rows, cols)
    expected = (dense.T if transpose else dense) @ x
    out = spmm(matrix, x, value, transpose=transpose)
    torch.testing.assert_close(out, expected)

    wanted = [x] if value is None else [x, value]
    seed = torch.randn(out.shape, generator=generator, dtype=dtype)
    for ours, theirs in zip(
        torch.autograd.grad(out, wanted, seed), torch.autograd.grad(expected, wanted, seed), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("symmetric", [True, False])
def test_first_and_second_derivatives(symmetric):
    edge_index = undirected(5, 6) if symmetric else edges(5, 5, 9)
    matrix = SparseMatrix.from_edges(edge_index, shape=5)
    assert matrix.has_symmetric_pattern == symmetric
    matrix.double()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    value = torch.randn(matrix.num_edges, dtype=torch.float64, requires_grad=True)
    for function, inputs in [
        (lambda x: spmm(matrix, x), (x,)),
        (lambda x, v: spmm(matrix, x, v), (x, value)),
        (lambda x, v: spmm(matrix, x, v, transpose=True), (x, value)),
        (lambda a, b: edge_dot(matrix, a, b), (x, y)),
    ]:
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("transpose", [True, False])
def test_gradients_reach_a_matrix_whose_own_values_want_them(transpose):
    edges, x = torch.tensor([[0, 0, 2], [1, 2, 0]]), torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(3, dtype=torch.float64, requires_grad=True)

    def product(values, table):
        return spmm(SparseMatrix.from_edges(edges, values, shape=3), table, transpose=transpose)

    assert torch.autograd.gradcheck(product, (weight, x))


def test_edge_dot_is_the_product_of_the_ends():
    matrix = SparseMatrix.from_edges(edges(4, 6, 15), shape=(4, 6))
    a, b = torch.randn(4, 5), torch.randn(6, 5)
    torch.testing.assert_close(edge_dot(matrix, a, b), (a[matrix.row] * b[matrix.col]).sum(1))


def test_a_symmetric_matrix_is_known_as_such_and_never_stores_its_transpose():
    matrix = symmetric_adjacency(undirected(50, 200), 50)
    assert matrix.is_symmetric
    assert matrix._crow_t is None
    assert not symmetric_adjacency(edges(50, 50, 200), 50).has_symmetric_pattern
    weighted = matrix.with_value(torch.arange(matrix.num_edges) + 1.0)
    assert weighted.has_symmetric_pattern
    assert not weighted.is_symmetric


def test_normalisation_equals_the_formula_and_spares_isolated_nodes():
    edge_index = undirected(6, 5)
    edge_index = edge_index[:, (edge_index != 3).all(0)]
    dense = torch.zeros(6, 6)
    dense[edge_index[0], edge_index[1]] = 1.0
    root = torch.diag(dense.sum(1).clamp(min=1).rsqrt())
    torch.testing.assert_close(symmetric_adjacency(edge_index, 6).dense(), root @ dense @ root)
    by_row = SparseMatrix.from_edges(edge_index, normalize(edge_index, 6, by="row"), shape=6).dense().sum(1)
    torch.testing.assert_close(by_row, (dense.sum(1) > 0).float())


@pytest.mark.parametrize("by", ["both", "row"])
def test_gradient_through_normalisation_is_exact_and_finite(by):
    edge_index = edges(5, 5, 8)
    weight = torch.rand(8, dtype=torch.float64) + 0.1
    assert torch.autograd.gradcheck(lambda w: normalize(edge_index, 6, w, by=by), (weight.requires_grad_(),))
    nothing = torch.zeros(8, requires_grad=True)
    normalize(edge_index, 6, nothing, by=by).sum().backward()
    assert torch.isfinite(nothing.grad).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min"])
def test_segment_reductions(backend, reduce):
    lengths = torch.tensor([2, 0, 3, 1])
    crow = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    values = torch.randn(6, 2, dtype=torch.float64)
    function = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}[reduce]
    parts = values.split(lengths.tolist())
    expected = torch.stack([function(part, 0) if len(part) else torch.zeros(2, dtype=torch.float64) for part in parts])
    torch.testing.assert_close(segment_reduce(values, crow, reduce, backend=backend), expected)
    assert torch.autograd.gradcheck(lambda v: segment_reduce(v, crow, reduce, backend=backend), values.requires_grad_())


@pytest.mark.parametrize("backend", BACKENDS)
def test_segment_softmax_equals_pyg_and_survives_large_scores(backend):
    crow = torch.tensor([0, 3, 3, 4, 8])
    scores = torch.randn(8, 2, dtype=torch.float64) * 300
    torch.testing.assert_close(segment_softmax(scores, crow, backend=backend), pyg_softmax(scores, ptr=crow, dim=0))
    gentle = torch.randn(8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: segment_softmax(s, crow, backend=backend), gentle)


def test_copies_casts_and_checkpoints():
    matrix = symmetric_adjacency(undirected(8, 12), 8)
    twin = copy.deepcopy(matrix)
    x = torch.randn(8, 4)
    torch.testing.assert_close(spmm(twin, x), spmm(matrix, x), rtol=0, atol=0)
    torch.testing.assert_close(spmm(twin.double(), x.double()).float(), spmm(matrix, x))
    assert not matrix.state_dict()
    half = spmm(matrix, x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half, spmm(matrix, x.bfloat16().float()).bfloat16(), rtol=0, atol=0)


def test_half_precision_is_summed_in_float32():
    # A running sum of ones in bfloat16 stays at 256.
    hub = torch.stack([torch.zeros(600, dtype=torch.long), torch.arange(600)])
    ones, crow = torch.ones(600, dtype=torch.bfloat16), torch.tensor([0, 600])
    assert degree(hub[0], 1, ones).tolist() == [600]
    assert float(normalize(hub, 600, ones, by="row").float().sum()) == pytest.approx(1, abs=0.005)
    assert segment_reduce(ones, crow).tolist() == [600]
    assert segment_reduce(ones, crow, "mean").tolist() == [1]
    assert float(segment_softmax(ones, crow).float().sum()) == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("other", [torch.bfloat16, torch.float64])
def test_values_of_another_type_than_the_table_are_taken(other):
    matrix, x = symmetric_adjacency(undirected(8, 12), 8), torch.randn(8, 4)
    value = torch.rand(matrix.num_edges).to(other).requires_grad_()
    out = spmm(matrix, x, value)
    torch.testing.assert_close(out, spmm(matrix, x, value.float()), rtol=0, atol=0)
    assert torch.autograd.grad(out.sum(), value)[0].dtype == other
    torch.testing.assert_close(edge_dot(matrix, x, x.to(other)).float(), edge_dot(matrix, x, x.to(other).float()))


def test_a_large_int32_graph_does_not_overflow():
    # 70,000 squared is above 2 ** 31: a single int32 key of row and column would wrap.
    edge_index = torch.tensor([[69_999, 0, 69_998], [69_999, 69_999, 0]], dtype=torch.int32)
    matrix = SparseMatrix.from_edges(edge_index, torch.tensor([1.0, 2.0, 3.0]), shape=70_000)
    assert matrix.edge_index.tolist() == [[0, 69_998, 69_999], [69_999, 0, 69_999]]
    assert matrix.value.tolist() == [2.0, 3.0, 1.0]


def test_mistakes_are_named():
    with pytest.raises(InputError, match=r"columns must lie in 0\.\.2, got 0\.\.5"):
        SparseMatrix.from_edges(torch.tensor([[0, 1], [0, 5]]), shape=3)
    with pytest.raises(InputError, match="give one for each"):
        SparseMatrix.from_edges(torch.tensor([[0, 1], [0, 2]]), torch.ones(3), shape=3)
    with pytest.raises(InputError, match="cannot multiply a tensor of shape"):
        spmm(SparseMatrix.from_edges(torch.tensor([[0], [0]]), shape=3), torch.ones(4, 2))
    matrix = SparseMatrix.from_edges(torch.tensor([[0, 1], [0, 2]]), shape=3)
    with pytest.raises(InputError, match=r"2 entries came with values of shape \(1,\)"):  # torch would read beyond them
        spmm(matrix, torch.ones(3, 2, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    with pytest.raises(InputError, match="needs tables of 3 and 3 rows"):
        edge_dot(matrix, torch.ones(2, 4), torch.ones(3, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_the_same_to_the_last_bit_on_several_threads(dtype):
    matrix = symmetric_adjacency(undirected(300, 9000), 300).to(dtype)
    x = torch.randn(300, 33, dtype=dtype, requires_grad=True)
    value = torch.rand(matrix.num_edges, dtype=dtype, requires_grad=True)

    def results() -> list[Tensor]:
        out = spmm(matrix, x, value)
        reduced = segment_reduce(value, matrix.crow)
        return [out, reduced, *torch.autograd.grad(out.square().sum() + reduced.square().sum(), (x, value))]

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        runs = [results() for _ in range(5)]
    finally:
        torch.set_num_threads(threads)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("index", [torch.int32, torch.int64])
def test_a_gpu_gives_the_products_and_gradients_of_the_cpu(index):
    matrix = SparseMatrix.from_edges(edges(40, 30, 200, index=index), shape=(40, 30))
    outcomes = []
    for device in ("cpu", "cuda"):
        here = copy.deepcopy(matrix).to(device)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(30, 8, generator=generator).to(device).requires_grad_()
        value = torch.rand(200, generator=generator).to(device).requires_grad_()
        out = spmm(here, x, value)
        outcomes.append([out, *torch.autograd.grad(out.square().sum(), (x, value))])
    for ours, theirs in zip(*outcomes, strict=True):
        torch.testing.assert_close(theirs.cpu(), ours, rtol=1e-4, atol=1e-4)


def test_misspelt_words_are_refused():
    with pytest.raises(InputError, match="reduce: 'prod' is none of sum, mean, max, min"):
        segment_reduce(torch.ones(2), torch.tensor([0, 2]), "prod")
    with pytest.raises(InputError, match="by: 'col' is none of both, row"):
        normalize(torch.tensor([[0], [1]]), 2, by="col")
