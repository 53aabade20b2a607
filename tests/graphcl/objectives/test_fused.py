"""The fused form of paired InfoNCE against the general one."""

import pytest
import torch

from graphcl.errors import InputError
from graphcl.objectives import All, InfoNCE
from graphcl.objectives.fused import paired_nce


@pytest.mark.parametrize("count", [1, 63, 64, 150])
@pytest.mark.parametrize("temperature", [1.0, 0.05])
@pytest.mark.parametrize(("epsilon", "floor"), [(0.0, 0.0), (1e-8, 1e-8), (0.3, 0.1)])
def test_value_and_gradients_equal_the_dense_objective(count, temperature, epsilon, floor):
    generator = torch.Generator().manual_seed(count)
    a, b = (torch.randn(count, 5, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    general = InfoNCE(temperature, denominator=All(epsilon), probability_floor=floor, tile=None)
    ours = paired_nce(a, b, temperature, epsilon=epsilon, probability_floor=floor)
    theirs = general(a, b)
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(torch.autograd.grad(3 * ours, [a, b]), torch.autograd.grad(3 * theirs, [a, b]), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("count", "candidates"), [(150, 7), (7, 150), (7, 2500), (300, 2100)])
@pytest.mark.parametrize("temperature", [0.2, 0.01])  # one without shifts, one where each tile has its own
@pytest.mark.parametrize(("epsilon", "floor"), [(0.0, 0.0), (0.3, 0.1)])
def test_named_positives_equal_the_dense_objective(count, candidates, temperature, epsilon, floor):
    generator = torch.Generator().manual_seed(count)
    tables = [
        torch.randn(rows, 5, generator=generator, dtype=torch.float64, requires_grad=True)
        for rows in (count, candidates)
    ]
    positives = torch.randint(candidates, (count,), generator=generator)
    general = InfoNCE(temperature, denominator=All(epsilon), probability_floor=floor, tile=None)
    ours = paired_nce(*tables, temperature, positives=positives, epsilon=epsilon, probability_floor=floor)
    theirs = general(*tables, positives=positives)
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(torch.autograd.grad(ours, tables), torch.autograd.grad(theirs, tables), strict=True):
        torch.testing.assert_close(one, other)


def test_many_candidates_leave_a_block_fewer_rows(monkeypatch):
    a, b = (torch.randn(50, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    whole = paired_nce(a, b, 0.2)
    monkeypatch.setattr("graphcl.objectives.fused._CELLS_CPU", 50 * 7)
    parts = paired_nce(a, b, 0.2)
    torch.testing.assert_close(parts, whole)
    for one, other in zip(torch.autograd.grad(parts, [a, b]), torch.autograd.grad(whole, [a, b]), strict=True):
        torch.testing.assert_close(one, other)


def test_a_tiny_temperature_neither_overflows_nor_vanishes():
    a = torch.randn(40, 4, requires_grad=True)
    loss = paired_nce(a, -a, 1e-3)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(a.grad).all()
    # The positive has cosine -1 and the best negative nearly 1: about 2 / 0.001.
    assert 1000 < loss.item() < 2001


def test_logits_far_below_zero_leave_the_epsilon_finite():
    a = torch.tensor([[1.0, 0.5]], requires_grad=True)
    ours, theirs = paired_nce(a, -a, 1e-3, epsilon=1e-8), InfoNCE(1e-3, denominator=All(1e-8))(a, -a)
    torch.testing.assert_close(ours, theirs)  # 1000 + log 1e-8, where e^1000 is infinite
    assert torch.isfinite(torch.autograd.grad(ours, a)[0]).all()


def test_half_precision_is_computed_in_full():
    a, b = torch.randn(30, 4).bfloat16(), torch.randn(30, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(paired_nce(a, b, 0.1), paired_nce(a.float(), b.float(), 0.1))


def test_mistakes_are_named():
    with pytest.raises(InputError, match="3 and 4 rows are not paired row by row"):
        paired_nce(torch.ones(3, 2), torch.ones(4, 2), 1.0)
    with pytest.raises(InputError, match="n > 0"):
        paired_nce(torch.ones(0, 2), torch.ones(0, 2), 1.0)
    with pytest.raises(InputError, match=r"int64 row of b for each of 3 anchors, got \[2\] of torch.int64"):
        paired_nce(torch.ones(3, 2), torch.ones(4, 2), 1.0, positives=torch.tensor([0, 1]))
    for outside in (-1, 4):
        with pytest.raises(InputError, match=f"candidate {outside}"):
            paired_nce(torch.ones(2, 2), torch.ones(4, 2), 1.0, positives=torch.tensor([0, outside]))
    with pytest.raises(InputError, match="floating point"):
        paired_nce(torch.ones(3, 2, dtype=torch.int64), torch.ones(3, 2), 1.0)
    with pytest.raises(InputError, match="that is not learned"):
        paired_nce(torch.ones(3, 2), torch.ones(3, 2), torch.tensor(0.2, requires_grad=True))
    for wrong in ({"epsilon": -1e-8}, {"probability_floor": -1e-8}):
        with pytest.raises(InputError, match="must not be negative"):
            paired_nce(torch.ones(3, 2), torch.ones(3, 2), 1.0, **wrong)
    a = torch.randn(3, 2, requires_grad=True)
    with pytest.raises(InputError, match="second derivative"):
        torch.autograd.grad(paired_nce(a, a.detach() + 1, 1.0), a, create_graph=True)
