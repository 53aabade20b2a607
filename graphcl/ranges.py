"""Annotated numbers for the fields of `Config` classes; pydantic checks them at the YAML door.

The classes themselves need no pydantic: an annotation is only read where a configuration file is read.
"""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """Numbers between `low` and `high`; an open end excludes its bound."""

    low: float = -inf
    high: float = inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and (isinstance(value, int) or isfinite(value))

    def __str__(self) -> str:
        if self.high == inf:
            return f"{'>' if self.open_low else '>='} {self.low:g}"
        return f"in {'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"

    def check(self, value: float) -> float:
        """Return `value`, or raise `ValueError` where it lies outside."""
        if value not in self:
            raise ValueError(f"must be {self}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        checked = core_schema.no_info_after_validator_function(self.check, handler(source))
        return core_schema.no_info_before_validator_function(refuse_truth, checked)


def refuse_truth(value: Any) -> Any:
    """Python takes `true` for 1; a person who writes it where a number belongs has made a mistake."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {str(value).lower()}")
    return value


Count = Annotated[int, Range(1)]
"""A whole number of things, at least one."""
Whole = Annotated[int, Range(0)]
"""A whole number, zero included."""
Seed = Annotated[int, Range(0, 2**63 - 1)]
"""What a generator can start from."""
Rate = Annotated[float, Range(0, 1)]
"""A share, both ends included."""
Share = Annotated[float, Range(0, 1, open_low=True, open_high=True)]
"""A share that is neither nothing nor all."""
Dropout = Annotated[float, Range(0, 1, open_high=True)]
"""The share of entries that are dropped; 1 would leave nothing."""
Weight = Annotated[float, Range(0)]
"""A coefficient that is not negative; 0 switches a term off."""
Positive = Annotated[float, Range(0, open_low=True)]
"""A number above zero: a temperature, a learning rate."""
