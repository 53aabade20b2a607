"""Paired comparisons: against scipy, and where the answer is known."""

import numpy as np
import pytest
from scipy import stats

from graphcl.errors import InputError
from recsys.evaluation.significance import compare, holm


def test_equal_to_a_paired_t_test_and_the_interval_holds_the_truth():
    random = np.random.default_rng(1)
    reference = random.normal(size=400)
    better = reference + random.normal(0.2, 0.5, size=400)
    found = compare(reference, {"better": better, "same": reference.copy()})
    assert found["better"].p == pytest.approx(stats.ttest_rel(better, reference).pvalue)
    assert found["better"].low < 0.2 < found["better"].high and found["better"].p_holm < 1e-6
    assert found["same"].p == 1 and found["same"].effect == 0 and found["same"].low == found["same"].high == 0


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


def test_other_users_are_refused():
    with pytest.raises(InputError, match="values of 3 users, the reference of 4"):
        compare(np.zeros(4), {"x": np.zeros(3)})
    with pytest.raises(InputError, match="at least two users"):
        compare(np.zeros(1), {})


def test_one_difference_for_all_users_has_no_effect_size():
    reference = np.linspace(0, 1, 50)
    found = compare(reference, {"raised": reference + 0.1})["raised"]
    assert found.effect == 0 and found.difference == pytest.approx(0.1)


def test_all_models_are_resampled_with_the_same_users():
    random = np.random.default_rng(0)
    reference, values, other = random.random((3, 80))
    found = compare(reference, {"one": values, "between": other, "again": values})
    assert (found["one"].low, found["one"].high) == (found["again"].low, found["again"].high)
