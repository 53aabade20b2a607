"""How a multiplier changes over a training: of a loss term's weight, or of the learning rate.

Each schedule maps progress, 0 at the first batch and 1 at the last, to a number. A joint training that starts with
representation learning and ends with the task, or the other way round, is a pair of schedules on two loss terms.
"""

import math
from dataclasses import dataclass

from graphcl.ranges import Rate


@dataclass(frozen=True)
class Constant:
    """The same all the time."""

    value: float = 1.0
    """The multiplier."""

    def __call__(self, progress: float) -> float:
        """The multiplier at `progress` in [0, 1]."""
        return self.value


@dataclass(frozen=True)
class Linear:
    r"""$s + (e - s)\,p$."""

    start: float = 1.0
    """The multiplier at first."""
    end: float = 0.0
    """The multiplier at last."""

    def __call__(self, progress: float) -> float:
        """The multiplier at `progress` in [0, 1]."""
        return self.start + (self.end - self.start) * progress


@dataclass(frozen=True)
class Parabolic:
    r"""$s + (e - s)\,p^2$: leaves `start` slowly."""

    start: float = 1.0
    """The multiplier at first."""
    end: float = 0.0
    """The multiplier at last."""

    def __call__(self, progress: float) -> float:
        """The multiplier at `progress` in [0, 1]."""
        return self.start + (self.end - self.start) * progress**2


@dataclass(frozen=True)
class Cosine:
    r"""$e + (s - e)\,(1 + \cos \pi p) / 2$: slow at both ends."""

    start: float = 1.0
    """The multiplier at first."""
    end: float = 0.0
    """The multiplier at last."""

    def __call__(self, progress: float) -> float:
        """The multiplier at `progress` in [0, 1]."""
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Step:
    """`start` until `at`, `end` from there on."""

    start: float = 1.0
    """The multiplier at first."""
    end: float = 0.0
    """The multiplier at last."""
    at: Rate = 0.5
    """The share of the training after which it changes."""

    def __call__(self, progress: float) -> float:
        """The multiplier at `progress` in [0, 1]."""
        return self.start if progress < self.at else self.end


Schedule = Constant | Linear | Parabolic | Cosine | Step
