"""How interactions are divided into train, valid and test."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.ranges import Rate, Seed
from recsys.data.filters import close_up
from recsys.data.interactions import Interactions, Released, Split
from recsys.data.moments import seconds, shown
from recsys.data.ragged import offsets_of

TRAIN, VALID, TEST = 0, 1, 2


class Rule(Protocol):
    """A way to divide interactions."""

    kind: ClassVar[str]

    @property
    def order(self) -> Literal["user", "global"] | None:
        """Whether test lies behind train in time: for each user, for all together, or not at all."""
        ...

    def divide(self, events: Interactions | Released) -> Split:
        """Three parts."""
        ...

    def words(self, events: Interactions | Released) -> str:
        """The rule, as it is for these events, in words that a table can show."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Shares of each user's events, or of all events.

    Of n events, floor(valid * n) and floor(test * n) are held out; where that is none although the share is not 0,
    one is held out as long as train keeps one, for test before valid (the rule of RecBole's general default).
    """

    kind: ClassVar[str] = "ratio"

    train: Rate = 0.8
    """The share of training."""
    valid: Rate = 0.1
    """The share of validation."""
    test: Rate = 0.1
    """The share of the test."""
    scope: Literal["user", "global"] = "user"
    """Whether each user's events are divided, or all together."""
    by: Literal["random", "time"] = "random"
    """Which events are held out: any, or the latest."""
    seed: Seed = 2020
    """Fixes the draw, where it is random."""

    def __post_init__(self) -> None:
        if abs(self.train + self.valid + self.test - 1) > 1e-6:
            raise InputError(f"train {self.train} + valid {self.valid} + test {self.test} must make 1")

    @property
    def order(self) -> Literal["user", "global"] | None:
        """Test lies behind train where the latest are held out."""
        return self.scope if self.by == "time" else None

    def divide(self, events: Interactions | Released) -> Split:
        """Three parts; where events have no times, their order in the file is a user's order of time.

        Raises:
            InputError: all events are to be divided by time together, and they have none.
        """
        events = undivided(events)
        if self.order == "global" and events.time is None:
            raise InputError("split: by: time with scope: global needs times; name the reader's time column")
        order = events.chronological if self.by == "time" else shuffled(len(events), self.seed)
        group = events.user if self.scope == "user" else torch.zeros_like(events.user)
        return cut(events, held_out(group, order, self.valid, self.test))

    def words(self, events: Interactions | Released) -> str:
        """The rule in words that a table can show."""
        whose = "each user's events" if self.scope == "user" else "all events"
        timeless = isinstance(events, Interactions) and events.time is None
        by_time = "in the order of the file" if timeless else "in the order of time"
        how = f"at random, seed {self.seed}" if self.by == "random" else by_time
        return f"{self.train:g} : {self.valid:g} : {self.test:g} of {whose}, {how}"


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut:
    """Each user's last event is the test, the one before it validation, the others training."""

    kind: ClassVar[str] = "leave_one_out"
    order: ClassVar[Literal["user", "global"] | None] = "user"

    short: Literal["refuse", "train", "drop"] = "refuse"
    """What is done with users of fewer than three events: an error, only training, or nothing of them stays."""

    def divide(self, events: Interactions | Released) -> Split:
        """Three parts.

        Raises:
            InputError: a user has fewer than three events, and `short` is "refuse".
        """
        events = undivided(events)
        count = torch.bincount(events.user, minlength=events.num_users)
        few = (count > 0) & (count < 3)
        if self.short == "refuse" and bool(few.any()):
            self.refuse(events, few)
        if self.short == "drop":
            events = close_up(events.take(~few[events.user]))
            few = torch.zeros(events.num_users, dtype=torch.bool)
        order = events.chronological
        from_end = rank_from_end(events.user, order)
        part = torch.full_like(events.user, TRAIN)
        part[from_end == 1], part[from_end == 0] = VALID, TEST
        part[few[events.user]] = TRAIN
        return cut(events, part)

    def refuse(self, events: Interactions, few: Tensor) -> None:
        """Say who has too few events."""
        first = int(few.nonzero()[0])
        name = events.user_ids[first] if events.user_ids else str(first)
        count, users = int((events.user == first).sum()), int(few.sum())
        others = f" (and {users - 1:,} other users have fewer than three)" if users > 1 else ""
        raise InputError(
            f"user {name!r} has {count} interaction{'s' if count > 1 else ''}{others}, too few to hold out a test and "
            f"a valid one; filter them (filters: [{{kind: k_core}}]) or set split.short to train or drop"
        )

    def words(self, events: Interactions | Released) -> str:
        """The rule in words that a table can show."""
        short = {"refuse": "", "train": "; users of fewer than 3 only train", "drop": "; users of fewer than 3 dropped"}
        return f"last event of each user is test, the one before valid{short[self.short]}"


@dataclass(frozen=True, kw_only=True)
class GlobalTime:
    """Two moments divide all events: train before both, valid between, test from the later one on."""

    kind: ClassVar[str] = "global_time"
    order: ClassVar[Literal["user", "global"] | None] = "global"

    valid: Rate = 0.1
    """The share of validation, about: events of one moment stay together."""
    test: Rate = 0.1
    """The share of the test, about."""
    valid_from: float | str | None = None
    """The moment at which validation begins, in the unit of the data, or as a date (2020-12-31, in UTC) where these are
    dates or seconds since 1970; takes the place of the share."""
    test_from: float | str | None = None
    """The moment at which the test begins, likewise."""

    def __post_init__(self) -> None:
        if (self.valid_from is None) != (self.test_from is None):
            raise InputError("give both valid_from and test_from, or neither")
        if self.moments is None and self.valid + self.test >= 1:
            raise InputError(f"valid {self.valid} + test {self.test} must leave something to train")
        if self.moments is not None and self.moments[0] >= self.moments[1]:
            raise InputError(f"valid_from {shown(self.valid_from)} must lie before test_from {shown(self.test_from)}")

    @property
    def moments(self) -> tuple[float, float] | None:
        """Where validation and test begin, if that was given."""
        if self.valid_from is None or self.test_from is None:
            return None
        return seconds("valid_from", self.valid_from), seconds("test_from", self.test_from)

    def divide(self, events: Interactions | Released) -> Split:
        """Three parts; one is empty where no event, or only a moment that is divided no further, lies in its time.

        Raises:
            InputError: there are no times.
        """
        events = undivided(events)
        if events.time is None:
            raise InputError("split: global_time needs times; name the reader's time column, or use another split")
        time = events.time
        if self.moments is None:
            ordered, count = time.sort().values, torch.tensor(len(events))
            starts = [int(share(count, 1 - held)) for held in (self.valid + self.test, self.test)]
            never = torch.tensor(torch.inf)  # a share of 0 holds nothing out
            valid_from, test_from = (ordered[start] if start < len(events) else never for start in starts)
        else:
            # seconds since 1970 need double precision: float32 knows every 128th
            time = time.double()
            valid_from, test_from = torch.tensor(self.moments, dtype=torch.float64)
        return cut(events, (time >= valid_from).long() + (time >= test_from).long())

    def words(self, events: Interactions | Released) -> str:
        """The rule in words that a table can show."""
        if self.moments is not None:
            return f"by time: valid from {shown(self.valid_from)}, test from {shown(self.test_from)}"
        return f"by time: latest {self.test:g} of all events are test, {self.valid:g} before them valid"


@dataclass(frozen=True, kw_only=True)
class AsReleased:
    """The parts that the authors of the data set released."""

    kind: ClassVar[str] = "as_released"

    valid: Rate = 0.1
    """The share of each user's training events that becomes validation where none was released; 0 for none."""
    by: Literal["random", "time"] = "random"
    """Whether these are any of the user's, or the last ones; with time the test must lie behind train, too."""
    seed: Seed = 2020
    """Fixes that draw."""

    def divide(self, events: Interactions | Released) -> Split:
        """Three parts."""
        if isinstance(events, Interactions):
            raise InputError("split: as_released needs a train and a test file; this data is one piece, use ratio")
        if events.valid is not None:
            return Split(events.train, events.valid, events.test)
        train = events.train
        order = train.chronological if self.by == "time" else shuffled(len(train), self.seed)
        carved = cut(train, held_out(train.user, order, self.valid, 0.0))
        return Split(carved.train, carved.valid, events.test)

    @property
    def order(self) -> Literal["user", "global"] | None:
        """What an audit asks of the order of parts."""
        return "user" if self.by == "time" else None

    def words(self, events: Interactions | Released) -> str:
        """The rule in words that a table can show."""
        if isinstance(events, Released) and events.valid is not None:
            return "as released"
        if not self.valid:
            return "train and test as released, no valid"
        chosen = "the latest" if self.by == "time" else f"at random, seed {self.seed}"
        return f"train and test as released, valid is {self.valid:g} of each user's train, {chosen}"


SPLITS: Mapping[str, type[Any]] = {rule.kind: rule for rule in (Ratio, LeaveOneOut, GlobalTime, AsReleased)}
"""kind -> rule."""


def undivided(events: Interactions | Released) -> Interactions:
    """All events, released parts joined."""
    return events if isinstance(events, Interactions) else events.joined()


def shuffled(count: int, seed: int) -> Tensor:
    """[count] a random order, from a generator of its own."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def rank_from_end(group: Tensor, order: Tensor) -> Tensor:
    """[n] how many events of its group come after each event in `order`."""
    by_group = order[torch.argsort(group[order], stable=True)]
    stops = offsets_of(torch.bincount(group))[1:]
    from_end = torch.empty_like(order)
    from_end[by_group] = stops[group[by_group]] - 1 - torch.arange(len(order))
    return from_end


def held_out(group: Tensor, order: Tensor, valid: float, test: float) -> Tensor:
    """[n] the part of each event: the last ones of its group in `order` are held out, in the shares of `Ratio`."""
    size = torch.bincount(group)
    n_valid, n_test = share(size, valid), share(size, test)
    n_test = n_test + ((n_test == 0) & (test * size > 0) & (size - n_valid > 1))
    n_valid = n_valid + ((n_valid == 0) & (valid * size > 0) & (size - n_test > 1))
    from_end = rank_from_end(group, order)
    return TEST * (from_end < n_test[group]) + VALID * (
        (from_end >= n_test[group]) & (from_end < (n_test + n_valid)[group])
    )


def share(size: Tensor, ratio: float) -> Tensor:
    """floor(ratio * size), forgiving what a float lacks to a whole number."""
    return (size.double() * ratio + 1e-9).floor().long()


def cut(events: Interactions, part: Tensor) -> Split:
    """The events of each part, in the order of the source."""
    return Split(events.take(part == TRAIN), events.take(part == VALID), events.take(part == TEST))
