"""Batches of histories and of what came next."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from graphcl.errors import InputError
from recsys.data.ragged import Ragged
from recsys.data.samplers import Negatives

PIECE = 2**12
"""Items read at a time in a pass over all samples: enough for fast products, few enough for small memory."""
BLOCK = 64
"""Batches put together at a time: their cost is that of a few operations on all of them."""

Batch = TypeVar("Batch", bound=tuple[Any, ...])


class Sequences(NamedTuple):
    """Histories and what came next."""

    user: Tensor
    """[B] int64."""
    history: Ragged
    """B rows of items, oldest first, none empty."""
    target: Tensor
    """What came next: [B] after the whole row, or [n] after each of its items."""
    negative: Tensor
    """[B, k] or [n, k] items that did not, drawn beside the target; k is 0 where the loss needs none."""


class OneOfTheRest:
    """Draws negatives for users, who may be named by several samples; see `recsys.data.samplers.Negatives`."""

    def __init__(self, histories: Ragged, num_items: int, count: int) -> None:
        self.count = count
        if count:
            pair = torch.unique(histories.row * num_items + histories.values)
            user, item = pair // num_items, pair % num_items
            self.negatives = Negatives(user, item, histories.num_rows, num_items)

    def usable(self, user: Tensor) -> Tensor:
        """[m] whether there is anything to draw for each user: one who knows every item has no negative."""
        return self.negatives.room[user] > 0 if self.count else torch.ones_like(user, dtype=torch.bool)

    def draw(self, user: Tensor, generator: torch.Generator) -> Tensor:
        """Users [m] -> items [m, count] that they do not know."""
        return self.negatives.draw(user, self.count, generator) if self.count else user.new_empty(user.numel(), 0)


class Prefixes(NamedTuple):
    """Every beginning of every history, as pieces of the flat items: sample s reads `start[s]:stop[s]`, then `stop[s]`.

    A history of n items has n - 1 of them; each keeps the last `max_length` items at most.
    """

    user: Tensor
    """[S]"""
    start: Tensor
    """[S]"""
    stop: Tensor
    """[S] where the history ends and the target stands."""

    @classmethod
    def of(cls, histories: Ragged, max_length: int) -> "Prefixes":
        """In the order of users, shorter beginnings first."""
        first = histories.offsets[:-1][histories.row]
        stop = torch.arange(histories.values.numel())
        sample = stop > first
        return cls(histories.row[sample], torch.maximum(first, stop - max_length)[sample], stop[sample])

    def __len__(self) -> int:
        return self.user.numel()


class PrefixSampler:
    """Every beginning of a history is a sample: read it, say what came next (RecBole, DuoRec, ICSRec, MCLRec)."""

    def __init__(self, histories: Ragged, num_items: int, max_length: int, *, negatives: int = 0) -> None:
        self.histories, self.rest = histories, OneOfTheRest(histories, num_items, negatives)
        self.prefixes = Prefixes.of(histories, max_length)
        usable = self.rest.usable(self.prefixes.user)
        self.prefixes = Prefixes(*(part[usable] for part in self.prefixes))
        refuse_nothing(self.prefixes.user)

    @property
    def num_samples(self) -> int:
        """S."""
        return self.prefixes.user.numel()

    def steps(self, batch_size: int) -> int:
        """Batches per epoch; the last may be smaller."""
        return -(-self.num_samples // batch_size)

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Sequences]:
        """All samples once, in random order."""
        for block in self.blocks(BLOCK * batch_size, generator):
            yield from cut(block, batch_size)

    def blocks(self, size: int, generator: torch.Generator) -> Iterator[Sequences]:
        """As `batches`, each put together by itself."""
        for rows in torch.randperm(self.num_samples, generator=generator).split(size):
            yield self.take(rows, generator)

    def take(self, rows: Tensor, generator: torch.Generator) -> Sequences:
        """The named samples [B]."""
        user, start, stop = (part.index_select(0, rows) for part in self.prefixes)
        target = self.histories.values.index_select(0, stop)
        return Sequences(user, self.histories.slice(start, stop), target, self.rest.draw(user, generator))

    def inputs(self, rows: Tensor) -> Ragged:
        """What the named samples [B] read."""
        start, stop = (part.index_select(0, rows) for part in (self.prefixes.start, self.prefixes.stop))
        return self.histories.slice(start, stop)

    def inputs_by_length(self) -> Iterator[Ragged]:
        """What every sample reads, short ones first, piece by piece: for a pass over all without padding."""
        for rows in pieces_by_length(self.prefixes.stop - self.prefixes.start):
            yield self.inputs(rows)


class UserSampler:
    """Each user is one row, and every item but the first a target (the training of SASRec's authors).

    One causal pass serves all targets of a user; only the last `max_length + 1` items are used.
    """

    def __init__(self, histories: Ragged, num_items: int, max_length: int, *, negatives: int = 0) -> None:
        self.histories, self.rest = histories, OneOfTheRest(histories, num_items, negatives)
        user = torch.nonzero(histories.lengths > 1).flatten()
        self.user = user[self.rest.usable(user)]
        refuse_nothing(self.user)
        self.stop = histories.offsets[1:][self.user]
        self.start = torch.maximum(histories.offsets[:-1][self.user], self.stop - max_length - 1)

    @property
    def num_samples(self) -> int:
        """How many users there are to learn from."""
        return self.user.numel()

    def inputs_by_length(self) -> Iterator[Ragged]:
        """What every user's row reads, short ones first, piece by piece: for a pass over all without padding."""
        for rows in pieces_by_length(self.stop - self.start - 1):
            yield self.histories.slice(self.start[rows], self.stop[rows] - 1)

    def steps(self, batch_size: int) -> int:
        """Batches per epoch; the last may be smaller."""
        return -(-self.user.numel() // batch_size)

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Sequences]:
        """All users once, in random order."""
        return self.blocks(batch_size, generator)

    def blocks(self, size: int, generator: torch.Generator) -> Iterator[Sequences]:
        """As `batches`: a pass over whole histories costs far more than putting them together."""
        for rows in torch.randperm(self.user.numel(), generator=generator).split(size):
            user, start, stop = self.user[rows], self.start[rows], self.stop[rows]
            history = self.histories.slice(start, stop - 1)
            target = self.histories.slice(start + 1, stop).values
            owner = user.repeat_interleave(history.lengths)
            yield Sequences(user, history, target, self.rest.draw(owner, generator))


def cut(batch: Batch, size: int) -> Iterator[Batch]:
    """A large batch, whose second field is its history, as batches of `size` rows."""
    history: Ragged = batch[1]
    counts = [piece.values.numel() for piece in split_rows(history, size)]

    def parts(field: Any) -> Sequence[Any]:
        if isinstance(field, Ragged):
            return split_rows(field, size)
        per_item = len(field) != history.num_rows  # where both numbers are one, either way is right
        return field.split(counts if per_item else size)

    for fields in zip(*map(parts, batch), strict=True):
        yield type(batch)(*fields)


def split_rows(rows: Ragged, size: int) -> list[Ragged]:
    """Consecutive rows, `size` at a time."""
    whole = rows.offsets.unfold(0, size + 1, size) if rows.num_rows >= size else rows.offsets.new_empty(0, size + 1)
    first = whole[:, 0]
    offsets = list((whole - first[:, None]).unbind())
    if rows.num_rows % size:
        rest = rows.offsets[len(whole) * size :]
        first = torch.cat([first, rest[:1]])
        offsets.append(rest - rest[0])
    values = rows.values.split([b - a for a, b in pairwise([*first.tolist(), rows.values.numel()])])
    return [Ragged(*parts) for parts in zip(values, offsets, strict=True)]


def pieces_by_length(lengths: Tensor) -> tuple[Tensor, ...]:
    """Samples by their lengths [S], short ones first, cut where about `PIECE` items are together."""
    order = torch.argsort(lengths, stable=True)
    _, sizes = torch.unique_consecutive(lengths[order].cumsum(0) // PIECE, return_counts=True)
    return order.split(sizes.tolist())


def refuse_nothing(samples: Tensor) -> None:
    """Raise `InputError` where there is no sample at all."""
    if not samples.numel():
        raise InputError(
            "training histories: none has two items (and, with sampled losses, an item left to draw), so nothing "
            "follows from anything; use longer histories or loss: softmax"
        )
