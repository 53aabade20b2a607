"""Which interactions are kept. Filters run in the order in which they are given; ids are closed up afterwards."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.ranges import Whole
from recsys.data.interactions import Interactions


class Filter(Protocol):
    """A rule that keeps some of the interactions."""

    kind: ClassVar[str]

    def mask(self, events: Interactions) -> Tensor:
        """[n] bool: the events that stay."""
        ...

    def __str__(self) -> str:
        """The rule in words that a table can show."""
        ...


@dataclass(frozen=True, kw_only=True)
class Rating:
    """Ratings (or counts) within bounds: a common way to make implicit feedback of ratings."""

    kind: ClassVar[str] = "rating"

    at_least: float | None = None
    """The smallest rating that is kept."""
    at_most: float | None = None
    """The largest rating that is kept."""

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise InputError("the filter 'rating' needs at_least or at_most")

    def mask(self, events: Interactions) -> Tensor:
        """[n] bool: the events that stay."""
        if events.value is None:
            raise InputError("the filter 'rating' needs ratings; name the reader's value column or drop the filter")
        keep = torch.ones(len(events), dtype=torch.bool)
        if self.at_least is not None:
            keep &= events.value >= self.at_least
        return keep if self.at_most is None else keep & (events.value <= self.at_most)

    def __str__(self) -> str:
        low, high = f">= {self.at_least:g}" if self.at_least is not None else "", ""
        if self.at_most is not None:
            high = f"<= {self.at_most:g}"
        return "ratings " + " and ".join(filter(None, [low, high]))


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Repeated events of the same user with the same item."""

    kind: ClassVar[str] = "duplicates"

    keep: Literal["first", "last", "all"] = "first"
    """Which of the repeated events stay, in the order of time."""

    def mask(self, events: Interactions) -> Tensor:
        """[n] bool: the events that stay."""
        if self.keep == "all":
            return torch.ones(len(events), dtype=torch.bool)
        order = events.chronological
        pair = (events.user * events.num_items + events.item)[order]
        pair, within = torch.sort(pair, stable=True)
        new = torch.ones(len(events), dtype=torch.bool)
        new[1:] = pair[1:] != pair[:-1]
        chosen = new if self.keep == "first" else torch.cat([new[1:], new[:1]])
        keep = torch.zeros(len(events), dtype=torch.bool)
        keep[order[within[chosen]]] = True
        return keep

    def __str__(self) -> str:
        return "repeated pairs kept" if self.keep == "all" else f"{self.keep} event of each pair"


@dataclass(frozen=True, kw_only=True)
class KCore:
    """Users and items with enough events, repeatedly, until all that are left have enough."""

    kind: ClassVar[str] = "k_core"

    user: Whole = 5
    """The fewest events of a user."""
    item: Whole = 5
    """The fewest events of an item."""

    def mask(self, events: Interactions) -> Tensor:
        """[n] bool: the events that stay."""
        left = torch.arange(len(events))
        while True:
            enough = frequent(events, left, self.user, self.item)
            if bool(enough.all()):
                break
            left = left[enough]
        keep = torch.zeros(len(events), dtype=torch.bool)
        keep[left] = True
        return keep

    def __str__(self) -> str:
        return f"core of {self.user} events per user, {self.item} per item"


@dataclass(frozen=True, kw_only=True)
class MinCount:
    """Users and items with enough events, counted once: fewer may be left afterwards."""

    kind: ClassVar[str] = "min_count"

    user: Whole = 0
    """The fewest events of a user."""
    item: Whole = 0
    """The fewest events of an item."""

    def mask(self, events: Interactions) -> Tensor:
        """[n] bool: the events that stay."""
        return frequent(events, torch.arange(len(events)), self.user, self.item)

    def __str__(self) -> str:
        return f"at least {self.user} events per user and {self.item} per item, counted once"


FILTERS: Mapping[str, type[Any]] = {rule.kind: rule for rule in (Rating, Duplicates, KCore, MinCount)}
"""kind -> filter."""


def frequent(events: Interactions, rows: Tensor, user: int, item: int) -> Tensor:
    """[rows] bool: whose user and item occur often enough among `rows`."""
    users, items = events.user[rows], events.item[rows]
    return (torch.bincount(users, minlength=events.num_users) >= user)[users] & (
        torch.bincount(items, minlength=events.num_items) >= item
    )[items]


def apply_filters(events: Interactions, rules: Iterable[Filter]) -> Interactions:
    """What all rules, one after another, leave; users and items without events lose their numbers.

    Raises:
        InputError: nothing is left.
    """
    before = len(events)
    rules = tuple(rules)
    for rule in rules:
        events = events.take(rule.mask(events))
        if not len(events):
            raise InputError(f"filters: nothing of {before:,} interactions is left after '{rule}'; ask for less")
    return close_up(events) if rules else events


def close_up(events: Interactions) -> Interactions:
    """The same events among only those users and items that occur, in the same order of ids.

    Raises:
        InputError: there are no events.
    """
    if not len(events):
        raise InputError("no interaction is left of the data; ask for less of its users, or take another split")
    user, user_ids = closed(events.user, events.num_users, events.user_ids)
    item, item_ids = closed(events.item, events.num_items, events.item_ids)
    return replace(
        events,
        user=user,
        item=item,
        num_users=int(user.max()) + 1,
        num_items=int(item.max()) + 1,
        user_ids=user_ids,
        item_ids=item_ids,
    )


def closed(numbers: Tensor, count: int, names: tuple[str, ...] | None) -> tuple[Tensor, tuple[str, ...]]:
    """(numbers without gaps, the names of those that occur)."""
    there = torch.bincount(numbers, minlength=count) > 0
    kept = torch.nonzero(there).flatten().tolist()
    return (there.cumsum(0) - 1)[numbers], tuple(map(str, kept) if names is None else (names[i] for i in kept))
