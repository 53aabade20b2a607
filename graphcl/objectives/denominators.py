"""Denominators: what the exponential of the positive logit is divided by, in logarithms.

Each is a small frozen object called with the `Rows` of one direction; it returns the log denominator of each anchor
[N] (of each positive pair [E], where the numerator takes positives one at a time).
"""

# ruff: noqa: D102 -- what a method returns is said once, at the protocol or abstract class it implements

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Protocol

import torch
from torch import Tensor

from graphcl.errors import InputError


class Rows(Protocol):
    """What a denominator may ask for."""

    @property
    def positive(self) -> Tensor:
        """The positive logit of each anchor."""
        ...

    @property
    def temperature(self) -> Tensor:
        """The temperature, as a tensor that broadcasts against `positive`."""
        ...

    def everything(self) -> Tensor:
        """The log of the sum over positives and negatives of w e^a."""
        ...

    def negatives(self, scale: float = 1.0) -> Tensor:
        """The log of the sum over negatives of w e^(scale a); -inf where there are none."""
        ...

    def log_count(self) -> Tensor:
        """The log of the sum over negatives of w: the log of their number where they are not weighted."""
        ...


Denominator = Callable[[Rows], Tensor]


@dataclass(frozen=True)
class All:
    """Positives and negatives: the softmax."""

    epsilon: float = 0.0
    """added to the sum, as published code does against division by 0 (DCCF, HeCo: 1e-8); an empty one stays empty"""

    def __post_init__(self) -> None:
        _refuse_negative(self.epsilon)

    def __call__(self, rows: Rows) -> Tensor:
        return _filled(rows.everything(), self.epsilon)


@dataclass(frozen=True)
class Decoupled:
    """The negatives alone (DCL, arXiv 2110.06848). Unbounded below: a loss under 0 is no error.

    InfoNCE_i = softplus(Decoupled_i).
    """

    epsilon: float = 0.0
    """added to the sum; an empty one stays empty"""

    def __post_init__(self) -> None:
        _refuse_negative(self.epsilon)

    def __call__(self, rows: Rows) -> Tensor:
        return _filled(rows.negatives(), self.epsilon)


@dataclass(frozen=True)
class Debiased:
    """Takes out of the negatives the share `tau_plus` that are positives unseen (arXiv 2007.00224).

    N' = max((N_neg - tau_plus n e^a+) / (1 - tau_plus), n e^(-1 / temperature)), denominator e^a+ + N'; n negatives.
    With `beta` > 0 negatives are weighted by e^(beta a), normalised to mean 1 (HCL, arXiv 2010.04592). The floor is
    the least that cosine similarity allows.
    """

    tau_plus: float = 0.1
    """probability that a negative has the class of the anchor"""
    beta: float = 0.0
    """concentration on hard negatives"""

    def __post_init__(self) -> None:
        if not 0 <= self.tau_plus < 1:
            raise InputError(f"tau_plus is a probability in [0, 1), not {self.tau_plus}.")

    def __call__(self, rows: Rows) -> Tensor:
        log_count = rows.log_count()
        empty = torch.isneginf(log_count)
        if self.beta:
            # Minus infinity less minus infinity is NaN: rows without negatives wait as zeros.
            hard, plain = (rows.negatives(scale).masked_fill(empty, 0) for scale in (1 + self.beta, self.beta))
            negative = (hard - plain + log_count).masked_fill(empty, -torch.inf)
        else:
            negative = rows.negatives()
        if self.tau_plus:
            negative = self._corrected(negative, log_count, rows).masked_fill(empty, -torch.inf)
        return torch.logaddexp(negative, rows.positive)

    def _corrected(self, negative: Tensor, log_count: Tensor, rows: Rows) -> Tensor:
        floor = log_count - 1 / rows.temperature
        surplus = log(self.tau_plus) + log_count + rows.positive - negative
        keeps = surplus < 0
        # log(1 - e^s) only exists below 0; elsewhere the floor holds and -1 keeps the gradient finite.
        rest = torch.log1p(-torch.exp(torch.where(keeps, surplus, -1.0)))
        corrected = negative + rest - log(1 - self.tau_plus)
        return torch.maximum(torch.where(keeps, corrected, floor), floor)


def add_epsilon(log_sum: Tensor, epsilon: float) -> Tensor:
    """log(e^log_sum + epsilon)"""
    return torch.logaddexp(log_sum, log_sum.new_tensor(log(epsilon))) if epsilon else log_sum


def _filled(log_sum: Tensor, epsilon: float) -> Tensor:
    """With `epsilon` in every sum that is not empty: what marks an anchor as incomplete is not painted over."""
    return add_epsilon(log_sum, epsilon).masked_fill(torch.isneginf(log_sum), -torch.inf) if epsilon else log_sum


def _refuse_negative(epsilon: float) -> None:
    if not epsilon >= 0:
        raise InputError(f"epsilon is added to a sum of exponentials and must not be negative, got {epsilon}.")
