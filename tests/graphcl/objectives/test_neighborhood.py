"""SAN's soft targets, against the dense formula."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import InputError
from graphcl.objectives import neighborhood, neighborhood_cross_entropy


def world(n, seed=0, d=3, f=5):
    generator = torch.Generator().manual_seed(seed)
    a, b, source = (torch.randn(n, width, dtype=torch.float64, generator=generator) for width in (d, d, f))
    return a.requires_grad_(), b.requires_grad_(), source


def dense(a, b, source, v_source=100.0, v=10.0, closeness=1e5):
    n, z = len(a), torch.cat([a, b])
    own = torch.eye(2 * n, dtype=torch.bool)

    def similarity(distance, freedom):
        gamma = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
        k = gamma**2 * 2 * 3.14 * (1 + distance / freedom) ** -(freedom + 1)
        return (k + k.T - k * k.T).masked_fill(own, 0)

    squared = (source[:, None] - source).square().sum(2)
    near = (squared + torch.eye(n) * 1e9).amin(0) / closeness
    right, below = squared + near, squared + near[:, None]
    p = similarity(torch.cat([torch.cat([squared, right], 1), torch.cat([below, right + near[:, None]], 1)]), v_source)
    q = similarity((z[:, None] - z).square().sum(2), v)
    return -(p * (q + 1e-12).log() + (1 - p) * (1 - q + 1e-12).log()).mean()


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 9), seed=st.integers(0, 99), freedom=st.sampled_from([1.0, 10.0]))
def test_it_is_the_dense_formula(n, seed, freedom):
    a, b, source = world(n, seed)
    ours, theirs = neighborhood_cross_entropy(a, b, source, freedom=freedom), dense(a, b, source, v=freedom)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)
    for one, other in zip(torch.autograd.grad(ours, (a, b)), torch.autograd.grad(theirs, (a, b)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)


def test_tiles_change_nothing(monkeypatch):
    a, b, source = world(7)
    whole = neighborhood_cross_entropy(a, b, source)
    monkeypatch.setattr(neighborhood, "TILE_CPU", (3, 2))
    monkeypatch.setattr("graphcl.objectives.pairwise.TILE_CPU", (2, 5))
    torch.testing.assert_close(neighborhood_cross_entropy(a, b, source), whole, rtol=1e-12, atol=0)


def test_rows_that_coincide_have_finite_gradients():
    """A view that is its input's other view to the last bit, and two inputs in one place."""
    _, b, source = world(5)
    source[1] = source[0]
    for dtype in (torch.float64, torch.float32):
        same = b.detach().to(dtype).requires_grad_()
        loss = neighborhood_cross_entropy(same, same, source.to(dtype))
        assert torch.autograd.grad(loss, same)[0].isfinite().all()


def test_a_view_is_drawn_to_its_own_input_and_to_what_is_near_it():
    """Three inputs, the second close to the first: a step against the gradient brings both views of both together."""
    source = torch.tensor([[0.0, 0.0], [0.1, 0.0], [9.0, 9.0]], dtype=torch.float64)
    a = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(neighborhood_cross_entropy(a, a.detach() + 0.01, source), a)
    before, after = torch.pdist(a.detach()), torch.pdist(a.detach() - 0.1 * gradient)
    assert after[0] < before[0] and after[1] > before[1]


def test_the_source_learns_nothing_and_half_precision_is_computed_in_full():
    a, b, source = world(4)
    loss = neighborhood_cross_entropy(a, b, source.requires_grad_())
    assert torch.autograd.grad(loss, source, allow_unused=True) == (None,)
    halves = [table.detach().bfloat16() for table in (a, b, source)]
    assert neighborhood_cross_entropy(*halves).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": torch.zeros(3, 3)}, "belong together, but there are 4, 3 and 4 rows"),
        ({"source": torch.zeros(5, 2)}, "there are 4, 4 and 5 rows"),
        ({"a": torch.zeros(1, 3), "b": torch.zeros(1, 3), "source": torch.zeros(1, 5)}, "at least 2 rows"),
        ({"freedom": 0.0}, "freedom must be above 0, not 0.0"),
        ({"source": torch.full((4, 5), float("nan"))}, "row 0 of the source holds NaN"),
        ({"b": torch.full((4, 3), float("inf"))}, "row 0 of the second view holds NaN or infinity"),
    ],
)
def test_mistakes_are_named(change, message):
    a, b, source = world(4)
    given = {"a": a, "b": b, "source": source} | change
    with pytest.raises(InputError, match=message):
        neighborhood_cross_entropy(**given)
