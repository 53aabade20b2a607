"""Whether a model is really better: paired comparisons over users, corrected for how many were made."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from graphcl.errors import InputError

ROUNDING = 1e-12
"""A spread this small beside the values is what is left of none."""


@dataclass(frozen=True)
class Comparison:
    """One model against a reference, user by user."""

    difference: float
    """Mean of the model's values minus the reference's."""
    low: float
    """Lower end of the bootstrap interval of the difference."""
    high: float
    """Upper end."""
    effect: float
    """Cohen's d of the paired differences; 0 where they are one and the same for all users."""
    p: float
    """Of the paired t-test, two-sided, before the correction."""
    p_holm: float
    """After Holm's correction over all models that were compared."""


def compare(
    reference: np.ndarray,
    others: Mapping[str, np.ndarray],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compare models with a reference on the same users, all arrays [U] in the same order of users.

    Users are resampled with replacement for the percentile interval, the same ones for every model; the t-test is
    paired.

    Raises:
        InputError: fewer than two users, or arrays of unequal length.
    """
    if len(reference) < 2:
        raise InputError(f"a comparison needs at least two users, got {len(reference)}")
    for name, values in others.items():
        if values.shape != reference.shape:
            raise InputError(f"{name}: has values of {len(values)} users, the reference of {len(reference)}")
    raw = {name: paired_p(values - reference) for name, values in others.items()}
    corrected = holm(raw)
    found = {}
    for name, values in others.items():
        gain = values - reference
        low, high = interval(gain, confidence, resamples, seed)
        spread = gain.std(ddof=1)
        effect = float(gain.mean() / spread) if spread > ROUNDING * np.abs(gain).max() else 0.0
        found[name] = Comparison(float(gain.mean()), low, high, effect, raw[name], corrected[name])
    return found


def paired_p(gain: np.ndarray) -> float:
    """Two-sided p of the t-test that the mean of `gain` [U] is 0; 1 where all are 0."""
    return 1.0 if not gain.any() else float(stats.ttest_1samp(gain, 0.0).pvalue)


def interval(values: np.ndarray, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` [U] over users; one seed draws the same users for all."""
    random = np.random.default_rng(seed)
    means = np.array([values[random.integers(0, len(values), len(values))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction: sorted p times how many are left, never falling, at most 1."""
    corrected, highest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[name]))
        corrected[name] = highest
    return corrected
