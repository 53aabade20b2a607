"""The streaming log-sum-exp against the dense one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import InputError
from graphcl.objectives import (
    DistinctGroups,
    Edges,
    Exclude,
    Index,
    LearnedWeight,
    PairFunction,
    PairMatrix,
    PairMLP,
    row_lse,
)
from graphcl.objectives.kernel import row_argmax
from graphcl.objectives.weights import Transposed

SIZES = st.integers(1, 17)


def rows(n, d=4, seed=0, dtype=torch.float64, scale=1.0):
    return (torch.randn(n, d, dtype=dtype, generator=torch.Generator().manual_seed(seed)) * scale).requires_grad_()


@settings(max_examples=40, deadline=None)
@given(n=SIZES, m=SIZES, tile=st.tuples(SIZES, SIZES), seed=st.integers(0, 99), scale=st.sampled_from([0.1, 1, 30]))
def test_value_and_gradients_do_not_depend_on_the_tile(n, m, tile, seed, scale):
    x, y = rows(n, seed=seed, scale=scale), rows(m, seed=seed + 1)
    bias = torch.randn(m, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    weight = torch.rand(n, m, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    cotangent = torch.randn(n, dtype=torch.float64)
    out = row_lse(x, y, col_bias=bias, terms=[PairMatrix(weight)], tile=tile)
    oracle = (x @ y.T + bias + weight.log()).logsumexp(1)
    torch.testing.assert_close(out, oracle, rtol=1e-12, atol=1e-12)
    inputs = (x, y, bias, weight)
    for ours, theirs in zip(
        torch.autograd.grad(out, inputs, cotangent), torch.autograd.grad(oracle, inputs, cotangent), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)


def test_a_tile_without_a_candidate_for_a_row_of_tiny_sum_has_no_gradient():
    x = rows(3, seed=1, dtype=torch.float32)
    far = torch.full((3,), -200.0)  # e^200 is no float, and 0 times it no number
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphcl.objectives.kernel.TILE_CPU", (3, 2))
        lse = row_lse(x, x, col_bias=far, terms=[Exclude(torch.tensor([0, 1, 2]))])  # the last tile is a row's own
        (found,) = torch.autograd.grad(lse.sum(), x)
    dense = (x @ x.T + far).fill_diagonal_(-torch.inf).logsumexp(1)
    torch.testing.assert_close(found, torch.autograd.grad(dense.sum(), x)[0])


@settings(max_examples=40, deadline=None)
@given(n=SIZES, m=SIZES, tile=st.tuples(SIZES, SIZES), seed=st.integers(0, 99), scale=st.sampled_from([0.1, 1, 300]))
def test_a_matrix_that_is_kept_gives_what_the_dense_one_gives(n, m, tile, seed, scale):
    x, y = rows(n, seed=seed, scale=scale), rows(m, seed=seed + 1)
    generator = torch.Generator().manual_seed(seed)
    bias = torch.randn(m, dtype=torch.float64, generator=generator).requires_grad_()
    keep = torch.rand(n, m, generator=generator) < 0.6  # whole tiles and whole rows are left out, too
    options = {"col_bias": bias, "terms": [PairFunction(lambda i, j: keep[i, j])]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphcl.objectives.kernel.TILE_CPU", tile)
        kept = row_lse(x, y, **options)
        dense = row_lse(x, y, tile=None, **options)
        torch.testing.assert_close(kept, dense, rtol=1e-12, atol=1e-12)
        full = keep.any(1)
        grads = (torch.autograd.grad(out[full].sum(), (x, y, bias)) for out in (kept, dense))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)


def test_gradcheck_with_bias_mask_and_a_learned_weight():
    x, y, bias = rows(7, 3), rows(5, 3, seed=1), torch.randn(5, dtype=torch.float64).requires_grad_()
    net = PairMLP(3, 2).double()

    def run(x, y, bias, *parameters):
        weight = LearnedWeight(net, x, y)
        weight.tensors = (x, y, *parameters)
        return row_lse(x, y, col_bias=bias, terms=[Exclude(torch.arange(7)), weight], tile=(3, 2))

    parameters = tuple(p.detach().clone().requires_grad_() for p in net.parameters())
    assert torch.autograd.gradcheck(run, (x, y, bias, *parameters))


def test_a_second_derivative_is_an_error_in_tiles_and_right_when_dense():
    x, y = rows(5, 3), rows(4, 3, seed=1)
    with pytest.raises(InputError, match="differentiated once"):
        torch.autograd.grad(row_lse(x, y).sum(), x, create_graph=True)
    assert torch.autograd.gradgradcheck(lambda x, y: row_lse(x, y, tile=None), (x, y))


@pytest.mark.parametrize("tile", [(2, 2), (8, 8), None])
def test_masked_tiles_and_rows_are_minus_infinity_without_gradient(tile):
    x, y = rows(6), rows(8, seed=1)
    keep = torch.ones(6, 8)
    keep[:, 2:4] = 0  # a whole tile
    keep[3] = 0  # a whole row
    out = row_lse(x, y, terms=[PairFunction(lambda r, c: keep[r, c])], tile=tile)
    assert torch.isneginf(out[3])
    assert torch.isfinite(out[[0, 1, 2, 4, 5]]).all()
    grad_x, grad_y = torch.autograd.grad(out[torch.arange(6) != 3].sum() + 0 * out[3].exp(), (x, y))
    assert torch.equal(grad_x[3], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(grad_y[2:4], torch.zeros(2, 4, dtype=torch.float64))
    assert torch.isfinite(grad_x).all()
    assert torch.isfinite(grad_y).all()


def test_no_candidates_and_no_anchors():
    assert torch.isneginf(row_lse(rows(3), rows(0))).all()
    assert row_lse(rows(0), rows(3)).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    x, y = rows(9, dtype=torch.float32).detach().to(dtype), rows(11, seed=1, dtype=torch.float32).detach().to(dtype)
    x.requires_grad_()
    out = row_lse(x, y, tile=(4, 4))
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, (x.float() @ y.float().T).logsumexp(1))
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert grad.dtype == dtype


def test_autocast_does_not_reach_the_logits():
    x, y = rows(9, dtype=torch.float32), rows(11, seed=1, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = row_lse(x, y)
        (grad_inside,) = torch.autograd.grad(inside.sum(), x)
    outside = row_lse(x, y)
    assert torch.equal(inside, outside)
    assert torch.equal(grad_inside, torch.autograd.grad(outside.sum(), x)[0])


def test_non_contiguous_rows():
    x, y = rows(4, 9).T, rows(4, 7, seed=1).T
    torch.testing.assert_close(row_lse(x, y, tile=(2, 3)), (x @ y.T).logsumexp(1))


def test_shapes_that_disagree_are_named():
    with pytest.raises(InputError, match=r"\[3, 4\] and \[3, 5\]"):
        row_lse(rows(3, 4), rows(3, 5))
    with pytest.raises(InputError, match="col_bias"):
        row_lse(rows(3), rows(3), col_bias=torch.zeros(2))


@settings(max_examples=20, deadline=None)
@given(n=SIZES, m=SIZES, tile=st.tuples(SIZES, SIZES), seed=st.integers(0, 99))
def test_argmax_over_tiles(n, m, tile, seed):
    x, y = rows(n, seed=seed), rows(m, seed=seed + 1)
    assert torch.equal(row_argmax(x, y, tile=tile), (x @ y.T).argmax(1))


@pytest.mark.parametrize("groups", [2, 500])
@pytest.mark.parametrize("of", ["index", "edges", "nobody"])
def test_groups_leave_out_the_same_pairs_whether_many_or_few(groups, of):
    """Few pairs of one group are found by sorting, many by comparing all."""
    generator = torch.Generator().manual_seed(0)
    anchor, candidate = torch.randint(groups, (60,), generator=generator), torch.arange(90) % groups
    candidate[:60] = anchor
    own = torch.arange(60)
    chosen = {"index": Index(own, 90), "edges": Edges(torch.stack([own, own]), 60, 90), "nobody": None}[of]
    left_out = anchor[:, None] == candidate
    if chosen is not None:
        left_out[own, own] = False
    logits = torch.randn(60, 90, generator=generator)
    expected = logits.masked_fill(left_out, -torch.inf)
    term = DistinctGroups(anchor, candidate, chosen)
    rows, cols = slice(10, 50), slice(20, 90)
    assert torch.equal(term(logits[rows, cols].clone(), rows, cols), expected[rows, cols])
    turned = Transposed(term)(logits[rows, cols].T.clone(), cols, rows)
    assert torch.equal(turned, expected[rows, cols].T)
