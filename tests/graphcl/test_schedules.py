"""Schedules begin and end where they say, and go one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcl.schedules import Constant, Cosine, Linear, Parabolic, Step

SHARE = st.floats(0, 1)


@pytest.mark.parametrize("kind", [Linear, Parabolic, Cosine, Step])
@given(start=SHARE, end=SHARE, p=SHARE, q=SHARE)
def test_from_start_to_end_in_one_direction(kind, start, end, p, q):
    schedule = kind(start=start, end=end)
    assert schedule(0.0) == pytest.approx(start)
    assert schedule(1.0) == pytest.approx(end)
    first, second = schedule(min(p, q)), schedule(max(p, q))
    assert (second - first) * (end - start) >= -1e-12


def test_known_values():
    assert Constant(0.3)(0.7) == 0.3
    assert [Linear()(p) for p in (0.25, 0.5)] == [0.75, 0.5]
    assert [Parabolic()(p) for p in (0.25, 0.5)] == [1 - 0.0625, 0.75]
    assert Cosine()(0.5) == pytest.approx(0.5)
    assert Cosine()(0.25) == pytest.approx(0.8535533905932737)
    assert [Step(start=1.0, end=0.0, at=0.25)(p) for p in (0.2499, 0.25)] == [1.0, 0.0]


def test_a_joint_training_keeps_its_total():
    contrast, task = Parabolic(), Parabolic(start=0.0, end=1.0)
    assert all(contrast(p / 10) + task(p / 10) == pytest.approx(1.0) for p in range(11))
