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
        return isfinite(value) and above and below

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

        return core_schema.no_info_after_validator_function(self.check, handler(source))


Count = Annotated[int, Range(1)]
"""A whole number of things, at least one."""
Whole = Annotated[int, Range(0)]
"""A whole number, zero included."""
Rate = Annotated[float, Range(0, 1)]
"""A share, both ends included."""
Dropout = Annotated[float, Range(0, 1, open_high=True)]
"""The share of entries that are dropped; 1 would leave nothing."""
Weight = Annotated[float, Range(0)]
"""A coefficient that is not negative; 0 switches a term off."""
Positive = Annotated[float, Range(0, open_low=True)]
"""A number above zero: a temperature, a learning rate."""
