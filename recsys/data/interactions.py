"""Who touched what, and the three parts into which a study divides it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import Data

from graphcl.errors import InputError
from recsys.data.attributes import Attributes
from recsys.data.ragged import Ragged
from recsys.data.raw import Rows, columns_of, number_rows


@dataclass(frozen=True, eq=False, kw_only=True)
class Interactions:
    """Events between users 0..U-1 and items 0..I-1, in the order of the source.

    Ids at and above `num_items` are free for models: `num_items` is padding, `num_items + 1` a mask. Graph and
    sequence models therefore share one numbering.
    """

    user: Tensor
    """[n] int64."""
    item: Tensor
    """[n] int64."""
    num_users: int
    num_items: int
    time: Tensor | None = None
    """[n] int64 or float64, larger is later; None where the source keeps only an order."""
    value: Tensor | None = None
    """[n] float, a rating or a count."""
    user_ids: tuple[str, ...] | None = None
    """[U] the source's name of each user."""
    item_ids: tuple[str, ...] | None = None
    """[I] the source's name of each item."""
    attributes: Attributes = field(default_factory=Attributes)
    """What the source says of users and items besides."""

    def __post_init__(self) -> None:
        for name, ids, count in (("user", self.user, self.num_users), ("item", self.item, self.num_items)):
            if ids.dtype != torch.int64 or ids.dim() != 1:
                raise InputError(
                    f"{name}: ids must be a flat int64 tensor, got {ids.dtype} of shape {tuple(ids.shape)}"
                )
            if ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < count):
                raise InputError(
                    f"{name}: ids must lie in 0..{count - 1}, got {int(ids.min())}..{int(ids.max())}; "
                    f"remap raw ids first, for example with Interactions.from_dataframe"
                )
        if len({column.numel() for column in self._columns().values()}) > 1:
            raise InputError(f"columns differ in length: { {k: v.numel() for k, v in self._columns().items()} }")

    @classmethod
    def from_dataframe(
        cls,
        frame: pd.DataFrame,
        *,
        user: str = "user",
        item: str = "item",
        time: str | None = None,
        value: str | None = None,
        source: str = "the data frame",
    ) -> "Interactions":
        """Rows of a pandas frame, whose columns are named; raw ids of any kind become numbers and are kept as names.

        Users and items are numbered in ascending order of their ids, whatever the order of the rows. Times may be
        numbers or dates (seconds since 1970 then). `source` is what messages call the frame.

        Raises:
            InputError: a column is not there; an id is missing, negative or broken; a time or value is not a number.
        """
        return cls.from_dataframes({source: frame}, user=user, item=item, time=time, value=value)[source]

    @classmethod
    def from_dataframes(
        cls,
        frames: Mapping[str, pd.DataFrame],
        *,
        user: str = "user",
        item: str = "item",
        time: str | None = None,
        value: str | None = None,
    ) -> "dict[str, Interactions]":
        """Frames that belong together, such as train and test: numbered together, each under its name.

        Raises:
            InputError: as in `from_dataframe`; a message names the frame.
        """
        wanted = {"user": user, "item": item, "time": time, "value": value}
        sources = [
            Rows(columns_of(frame, wanted, name), lambda row, name=name: f"{name}, row {row + 1}")  # type: ignore[misc]
            for name, frame in frames.items()
        ]
        whole = cls.of_rows(sources, source=" and ".join(frames))
        rows = torch.arange(len(whole)).split([len(frame) for frame in frames.values()])
        return dict(zip(frames, map(whole.take, rows), strict=True))

    @classmethod
    def of_rows(
        cls,
        sources: Sequence[Rows],
        *,
        ids: Literal["names", "numbers"] = "names",
        first_id: int = 0,
        source: str = "the data",
    ) -> "Interactions":
        """The rows of all sources, one after another, numbered together; see `number_rows`."""
        numbered = number_rows(sources, ids=ids, first_id=first_id, source=source)
        return cls(
            user=numbered.user,
            item=numbered.item,
            num_users=len(numbered.user_ids),
            num_items=len(numbered.item_ids),
            time=numbered.time,
            value=numbered.value,
            user_ids=numbered.user_ids,
            item_ids=numbered.item_ids,
        )

    def _columns(self) -> dict[str, Tensor]:
        named = {"user": self.user, "item": self.item, "time": self.time, "value": self.value}
        return {name: column for name, column in named.items() if column is not None}

    def __len__(self) -> int:
        return self.user.numel()

    def __repr__(self) -> str:
        return f"Interactions({len(self):,} events, {self.num_users:,} users, {self.num_items:,} items)"

    def take(self, rows: Tensor) -> "Interactions":
        """The named events [m] (positions or a mask), with the same users and items."""
        return replace(self, **{name: column[rows] for name, column in self._columns().items()})  # type: ignore[arg-type]

    def __add__(self, later: "Interactions") -> "Interactions":
        """Both sets of events, those of `later` behind; users and items must agree."""
        self.refuse_other_numbers(later)
        mine, theirs = self._columns(), later._columns()
        joined = {name: torch.cat([mine[name], theirs[name]]) if name in theirs else None for name in mine}
        return replace(self, **joined)  # type: ignore[arg-type]

    def refuse_other_numbers(self, other: "Interactions") -> None:
        """Raise `InputError` where a number does not mean the same user or item in `other`."""
        for role in ("user", "item"):
            counts = getattr(self, f"num_{role}s"), getattr(other, f"num_{role}s")
            ids = getattr(self, f"{role}_ids"), getattr(other, f"{role}_ids")
            if counts[0] != counts[1]:
                told = f"{self!r} and {other!r} number different {role}s"
            elif None not in ids and ids[0] != ids[1]:
                place = next(number for number, (mine, theirs) in enumerate(zip(*ids, strict=True)) if mine != theirs)
                told = f"{role} {place} is {ids[0][place]!r} in one part and {ids[1][place]!r} in another"
            else:
                continue
            raise InputError(f"{told}; number the parts together, with Interactions.from_dataframes")

    @cached_property
    def chronological(self) -> Tensor:
        """[n] the order of time, ties and absent times in the order of the source."""
        return torch.arange(len(self)) if self.time is None else torch.argsort(self.time, stable=True)

    @cached_property
    def histories(self) -> Ragged:
        """[U] rows: the items of each user, oldest first."""
        order = self.chronological
        return Ragged.group(self.user[order], self.item[order], self.num_users)

    @cached_property
    def item_counts(self) -> Tensor:
        """[I] how many events each item has."""
        return torch.bincount(self.item, minlength=self.num_items)

    @cached_property
    def graph(self) -> Data:
        """The bipartite graph: user u is node u, item i is node `num_users + i`; each pair once, both directions."""
        pair = torch.unique(self.user * self.num_items + self.item)
        user, item = pair // self.num_items, pair % self.num_items + self.num_users
        edge_index = torch.stack([torch.cat([user, item]), torch.cat([item, user])])
        return Data(edge_index=edge_index, num_nodes=self.num_users + self.num_items)

    @cached_property
    def digest(self) -> str:
        """Hash of the events, their order and the numbers of users and items; raw ids do not count."""
        state = hashlib.sha256(f"{self.num_users} {self.num_items} {sorted(self._columns())}".encode())
        for name, column in sorted(self._columns().items()):
            state.update(column.to(torch.float64 if name in ("time", "value") else torch.int64).numpy().tobytes())
        return state.hexdigest()


class Released(NamedTuple):
    """The parts into which the authors of a data set divided it; not all of them give a validation part."""

    train: Interactions
    test: Interactions
    valid: Interactions | None = None

    def joined(self) -> Interactions:
        """Every event, as if nobody had divided them."""
        return self.train + self.test if self.valid is None else self.train + self.valid + self.test


@dataclass(frozen=True, eq=False)
class Split:
    """Three parts, always: training sees the first, early stopping the second, the report the third, once."""

    train: Interactions
    valid: Interactions
    test: Interactions
    protocol: Mapping[str, str] = field(default_factory=dict)
    """How the parts were made: data set, filters, rule of the split, in words that a table can show."""

    def __post_init__(self) -> None:
        self.train.refuse_other_numbers(self.valid)
        self.train.refuse_other_numbers(self.test)

    @cached_property
    def digest(self) -> str:
        """The identity of the data: results with different digests are not comparable."""
        parts = (self.train.digest, self.valid.digest, self.test.digest)
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
