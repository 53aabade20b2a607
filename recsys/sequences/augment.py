"""Edits of histories: crop, mask, reorder (CL4SRec, ICDE 2022), insert, substitute (CoSeRec, 2021), and more.

An edit is drawn, then applied: `drawing = edit.draw(history, generator)`, `edit.apply(history, drawing)`. The drawing
is a plain tensor, so a view can be stored and replayed; drawing and applying touch whole batches, never single rows.
How many items an edit touches is `floor(length * ratio)` in single precision, as in the authors' code; crop,
substitute and insert touch one at least. Deviations from CoSeRec's code: a similar item is any of k, where theirs is
the nearest; one item is inserted at a place, where theirs may insert several.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.errors import InputError
from recsys.data.ragged import Ragged, offsets_of


class Edit(ABC):
    """One way to alter histories."""

    @abstractmethod
    def draw(self, history: Ragged, generator: torch.Generator) -> Tensor:
        """What to do with each row [B, 2] or with each item [n] of the history."""

    @abstractmethod
    def apply(self, history: Ragged, drawing: Tensor) -> Ragged:
        """The altered rows; none is empty where none was."""

    def __call__(self, history: Ragged, generator: torch.Generator) -> Ragged:
        """Draw and apply."""
        return self.apply(history, self.draw(history, generator))


class KeepRun(Edit):
    """What keeps a run of items: drawings are [B, 2], where each begins in its row and how long it is."""

    def apply(self, history: Ragged, drawing: Tensor) -> Ragged:
        """The runs alone."""
        start = history.offsets[:-1] + drawing[:, 0]
        return history.slice(start, start + drawing[:, 1])


class ReplaceItems(Edit):
    """What puts items in the place of others: drawings are [n], the new item or -1."""

    def apply(self, history: Ragged, drawing: Tensor) -> Ragged:
        """The rows with other items where drawn."""
        return Ragged(torch.where(drawing >= 0, drawing, history.values), history.offsets)


@dataclass(frozen=True)
class Crop(KeepRun):
    """Keep a run of items that begins anywhere.

    `ratio` is the share that is left out, as the authors of MCLRec count it; one item at least is kept.
    """

    ratio: float = 0.5

    def __post_init__(self) -> None:
        refuse_ratio("crop", self.ratio, 1.0)

    def draw(self, history: Ragged, generator: torch.Generator) -> Tensor:
        """[B, 2] the runs."""
        return runs(history, portion(history.lengths, 1 - self.ratio), generator)


@dataclass(frozen=True)
class Mask(Edit):
    """Put `token` in the place of items anywhere: a mask id (CL4SRec), or the padding id (MCLRec, hidden as well)."""

    token: int
    ratio: float = 0.5

    def __post_init__(self) -> None:
        refuse_ratio("mask", self.ratio, 1.0)

    def draw(self, history: Ragged, generator: torch.Generator) -> Tensor:
        """[n] bool, which items go."""
        return chosen(history, portion(history.lengths, self.ratio), generator)

    def apply(self, history: Ragged, drawing: Tensor) -> Ragged:
        """The rows with `token` where drawn."""
        return Ragged(history.values.masked_fill(drawing, self.token), history.offsets)


@dataclass(frozen=True)
class Reorder(Edit):
    """Shuffle a run of items that begins anywhere."""

    ratio: float = 0.5

    def __post_init__(self) -> None:
        refuse_ratio("reorder", self.ratio, 1.0)

    def draw(self, history: Ragged, generator: torch.Generator) -> Tensor:
        """[n] the place in the flat items from which each item comes."""
        run = runs(history, portion(history.lengths, self.ratio), generator, least=0)
        row, column = places(history)
        inside = ((column >= run[row, 0]) & (column < run.sum(1)[row])).nonzero().flatten()
        key = row[inside] + uniform(inside.numel(), generator)
        source = torch.arange(row.numel(), device=row.device)
        source[inside] = inside[key.argsort()]
        return source

    def apply(self, history: Ragged, drawing: Tensor) -> Ragged:
        """The rows in their new order."""
        return Ragged(history.values[drawing], history.offsets)


@dataclass(frozen=True, eq=False)
class Substitute(ReplaceItems):
    """Put one of the most similar items [I, k] in the place of items anywhere (CoSeRec)."""

    similar: Tensor
    ratio: float = 0.3

    def __post_init__(self) -> None:
        refuse_ratio("substitute", self.ratio, 1.0, closed=True)

    def draw(self, history: Ragged, generator: torch.Generator) -> Tensor:
        """[n] the new items."""
        return drawn_items(history, portion(history.lengths, self.ratio, least=1), self.similar, generator)


@dataclass(frozen=True, eq=False)
class Insert(Edit):
    """Put one of the most similar items [I, k] before items anywhere; the last `max_length` items stay (CoSeRec)."""

    similar: Tensor
    max_length: int
    ratio: float = 0.3

    def __post_init__(self) -> None:
        refuse_ratio("insert", self.ratio, 1.0, closed=True)

    def draw(self, history: Ragged, generator: torch.Generator) -> Tensor:
        """[n] the item that goes before each, or -1."""
        return drawn_items(history, portion(history.lengths, self.ratio, least=1), self.similar, generator)

    def apply(self, history: Ragged, drawing: Tensor) -> Ragged:
        """The longer rows."""
        both = torch.stack([drawing, history.values], 1).view(-1)
        kept = torch.ones_like(both, dtype=torch.bool)
        kept[::2] = drawing >= 0
        extra = offsets_of((drawing >= 0).long())
        return Ragged(both[kept], history.offsets + extra[history.offsets]).last(self.max_length)


@dataclass(frozen=True, eq=False)
class ReplaceWithinType(ReplaceItems):
    """Put any item of the same type in the place of items anywhere; `type_of` is [I] int64."""

    type_of: Tensor
    ratio: float = 0.3

    def __post_init__(self) -> None:
        refuse_ratio("replace", self.ratio, 1.0, closed=True)

    def draw(self, history: Ragged, generator: torch.Generator) -> Tensor:
        """[n] the new items."""
        refuse_unknown("replace: type_of", history, len(self.type_of))
        touched = chosen(history, portion(history.lengths, self.ratio), generator)
        member = self.type_of.argsort(stable=True)
        size = torch.bincount(self.type_of)
        kind = self.type_of[history.values]
        place = (uniform(kind.numel(), generator) * size[kind]).long()
        return torch.where(touched, member[offsets_of(size)[kind] + place], -1)


@dataclass(frozen=True)
class IndependentCrop(KeepRun):
    """Keep a run of random length and place: two draws give Contriever's independent crops (Izacard et al., 2022).

    The length is uniform between the shares `least` and `most` of the row, one item at least.
    """

    least: float = 0.1
    most: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most <= 1:
            raise InputError(f"independent crop: needs 0 <= least <= most <= 1, got {self.least:g} and {self.most:g}")

    def draw(self, history: Ragged, generator: torch.Generator) -> Tensor:
        """[B, 2] the runs."""
        share = self.least + (self.most - self.least) * uniform(history.num_rows, generator)
        return runs(history, (share * history.lengths).long(), generator)


def uniform(count: int, generator: torch.Generator) -> Tensor:
    """[count] float64 in [0, 1)."""
    return torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64)


def portion(lengths: Tensor, ratio: float, *, least: int = 0) -> Tensor:
    """[B] floor(length * ratio), but `least` of a row that has so many, the product in single precision as theirs."""
    return (lengths.float() * ratio).long().clamp(min=least).minimum(lengths)


def places(history: Ragged) -> tuple[Tensor, Tensor]:
    """[n] the row of each item, and its column in that row."""
    row = history.row
    return row, torch.arange(row.numel(), device=row.device) - history.offsets[row]


def runs(history: Ragged, num: Tensor, generator: torch.Generator, *, least: int = 1) -> Tensor:
    """[B, 2] runs of `num` [B] items, but `least`, that begin anywhere in their rows, all places equally likely."""
    num = num.clamp(min=least).minimum(history.lengths)
    room = history.lengths - num + 1
    return torch.stack([(uniform(num.numel(), generator) * room).long(), num], 1)


def chosen(history: Ragged, num: Tensor, generator: torch.Generator) -> Tensor:
    """[n] bool: `num` [B] items of each row, all sets equally likely."""
    row, column = places(history)
    order = (row + uniform(row.numel(), generator)).argsort()
    flags = torch.empty_like(row, dtype=torch.bool)
    flags[order] = column < num[row]
    return flags


def drawn_items(history: Ragged, num: Tensor, similar: Tensor, generator: torch.Generator) -> Tensor:
    """[n] one of the similar items [I, k] of `num` [B] items of each row, -1 for the others."""
    refuse_unknown("similar items", history, len(similar))
    touched = chosen(history, num, generator)
    column = (uniform(touched.numel(), generator) * similar.shape[1]).long()
    return torch.where(touched, similar[history.values, column], -1)


def refuse_ratio(name: str, ratio: float, high: float, *, closed: bool = False) -> None:
    """Raise `InputError` unless 0 <= ratio < high (or <=, if closed), in the single precision that it is used in."""
    single = float(torch.tensor(ratio, dtype=torch.float32))
    if not (0 <= single < high or (closed and single == high)):
        raise InputError(
            f"{name}: the ratio must be at least 0 and {'at most' if closed else 'below'} {high:g}, got {ratio:g}"
        )


def refuse_unknown(what: str, history: Ragged, num_items: int) -> None:
    """Raise `InputError` where a history holds an item that a table of `num_items` rows does not have."""
    wrong = history.values[(history.values < 0) | (history.values >= num_items)]
    if wrong.numel():
        raise InputError(
            f"{what}: the table has the items 0..{num_items - 1}, a history holds {int(wrong[0])}; "
            f"make the table from the data of the histories"
        )
