"""The losses beside the family, against loops and dense formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import InputError
from graphcl.objectives import (
    Edges,
    alignment,
    alignment_tempered,
    barlow_twins,
    cosine,
    group_ordering,
    joint_entropy,
    jsd,
    margin_regulariser,
    pair_cross_entropy,
    pair_sum,
    uniformity,
    vicreg,
)


def views(n, d=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2)]


def same(ours, theirs, inputs):
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    for one, other in zip(
        *(torch.autograd.grad(value, inputs, retain_graph=True) for value in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 9), seed=st.integers(0, 99))
def test_the_margin_regulariser_row_by_row(n, seed):
    a, b = views(n, seed=seed)
    z = torch.cat([a, b])
    logits = z @ z.T / 0.7
    pull, push = [], []
    for i in range(2 * n):
        other = (i + n) % (2 * n)
        negative = logits[i, [j for j in range(2 * n) if j not in (i, other)]]
        low, high = torch.min(logits[i, other], negative.max()), torch.max(logits[i, other], negative.max())
        pull.append(F.relu(logits[i, other] - low))
        push.append(F.relu(high - negative).mean())
    same(margin_regulariser(a, b, temperature=0.7), torch.stack(pull).mean() + torch.stack(push).mean(), (a, b))


def test_the_margin_regulariser_needs_negatives():
    with pytest.raises(InputError, match="at least two rows"):
        margin_regulariser(*views(1))


def test_alignment_and_uniformity():
    x, y = views(7)
    u, v = F.normalize(x), F.normalize(y)
    same(alignment(x, y), (u - v).square().sum(1).mean(), (x, y))
    same(alignment(x, y, alpha=1.0, normalise=False), (x - y).norm(dim=1).mean(), (x, y))
    same(uniformity(x, t=3.0, tile=(2, 3)), torch.pdist(u).square().mul(-3).exp().mean().log(), (x,))
    assert uniformity(u) > uniformity(torch.eye(4, dtype=torch.float64))
    assert torch.isfinite(torch.autograd.grad(alignment(x, x, alpha=1.0), x)[0]).all()
    with pytest.raises(InputError, match="makes no pair"):
        uniformity(x[:1])


def test_joint_entropy_is_least_where_parts_are_independent():
    grid = torch.arange(4, dtype=torch.float64)
    x, y = (values.flatten()[:, None] for values in torch.meshgrid(grid, grid, indexing="ij"))
    assert joint_entropy(x, y) < joint_entropy(x, x)
    a, b = views(6)
    square = torch.cdist(a, a).square() + torch.cdist(b, b).square()
    same(joint_entropy(a, b, temperature=0.7, tile=(4, 2)), (-square / 1.4).exp().mean(1).log().mean(), (a, b))


def test_barlow_twins_of_equal_decorrelated_views_is_nothing():
    z = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    assert barlow_twins(z, z).item() == pytest.approx(0, abs=1e-8)
    assert barlow_twins(z, -z).item() == pytest.approx(8, abs=1e-3)
    repeated = z[:, [0, 0]]
    assert barlow_twins(repeated, repeated, redundancy_weight=0.1).item() == pytest.approx(0.2, abs=1e-4)


def test_vicreg_term_by_term():
    a, b = views(8)
    parts = [vicreg(a, b, **dict(zip(("invariance_weight", "variance_weight", "covariance_weight"), w, strict=True)))
             for w in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))]  # fmt: skip
    hinge = [torch.clamp(1 - (torch.cov(z.T).diagonal() + 1e-4).sqrt(), min=0).mean() for z in (a, b)]
    off = [(torch.cov(z.T) - torch.diag(torch.cov(z.T).diagonal())).square().sum() / 4 for z in (a, b)]
    for part, oracle in zip(parts, ((a - b).square().mean(), sum(hinge) / 2, sum(off)), strict=True):
        torch.testing.assert_close(part, oracle)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 9), m=st.integers(1, 9), tile=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_the_pair_kernel_is_the_dense_sum(n, m, tile):
    (x, _), (y, _) = views(n), views(m, seed=1)
    target = torch.rand(n, m, dtype=torch.float64)
    ours = pair_sum(x, y, lambda logits, rows, cols: target[rows, cols] * F.softplus(logits), tile=tile)
    same((ours * torch.arange(1, n + 1)).sum(), ((target * F.softplus(x @ y.T)).sum(1) * torch.arange(1, n + 1)).sum(),
         (x, y))  # fmt: skip
    with pytest.raises(InputError, match="not twice"):
        torch.autograd.grad(pair_sum(x, y, lambda s, rows, cols: s.exp()).sum(), x, create_graph=True)


def test_jsd_of_pairs():
    a, b = views(6)
    s, eye = a @ b.T, torch.eye(6, dtype=torch.bool)
    oracle = F.softplus(-s[eye]).mean() + F.softplus(s[~eye]).mean() - 2 * math.log(2)
    same(jsd(a, b), oracle, (a, b))
    edges = torch.tensor([[0, 0, 3], [1, 2, 3]])
    mask = torch.zeros(6, 6, dtype=torch.bool).index_put((edges[0], edges[1]), torch.tensor(True))
    negative = torch.zeros(6, 6, dtype=torch.bool)
    negative[1, 4] = negative[5, 0] = True
    oracle = F.softplus(-s[mask]).mean() + F.softplus(s[negative]).mean() - 2 * math.log(2)
    same(jsd(a, b, positives=Edges(edges, 6, 6), negatives=lambda r, c: negative[r, c]), oracle, (a, b))
    with pytest.raises(InputError, match="one negative pair"):
        jsd(*views(1))


def test_pair_cross_entropy_learns_temperature_and_bias():
    a, b = views(6)
    scale = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    u, v = cosine(a, b)
    target = torch.rand(6, 6, dtype=torch.float64)
    for given_target, dense in ((None, torch.eye(6, dtype=torch.float64)), (lambda r, c: target[r, c], target)):
        oracle = F.binary_cross_entropy_with_logits(u @ v.T / scale + bias, dense, reduction="none").sum(1).mean()
        ours = pair_cross_entropy(a, b, target=given_target, temperature=scale, bias=bias)
        same(ours, oracle, (a, b, scale, bias))


@pytest.mark.parametrize(
    "loss", [alignment, barlow_twins, vicreg, margin_regulariser, jsd, pair_cross_entropy, lambda a, b: uniformity(b),
             joint_entropy, alignment_tempered, lambda a, b: group_ordering([a, b], n_negatives=2)]
)  # fmt: skip
def test_nan_is_named(loss):
    a, b = (z.detach() for z in views(6))
    b[4, 1] = float("nan")
    with pytest.raises(InputError, match=r"row 4 of the .* holds NaN"):
        loss(a, b)
