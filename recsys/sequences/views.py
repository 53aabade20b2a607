"""Two views of each history, by two different edits."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from graphcl.errors import InputError
from recsys.data.ragged import Ragged
from recsys.sequences.augment import Edit
from recsys.sequences.sampler import BLOCK, PrefixSampler, UserSampler, cut

UNCHANGED = -1


class View(NamedTuple):
    """Altered histories, and how they came about."""

    history: Ragged
    """B altered rows."""
    choice: Tensor
    """[B] the number of the edit of each row, -1 where the row stays as it is."""
    drawings: tuple[Tensor, ...]
    """What each edit drew for its rows, in their order."""


def two_views(history: Ragged, edits: Sequence[Edit], generator: torch.Generator) -> tuple[View, View]:
    """Two views of each row by two different edits, every ordered pair equally likely; rows of one item stay.

    Both edits work on the row as it is. CL4SRec as in RecBole's line of code, and MCLRec.
    """
    if len(edits) < 2:
        raise InputError("two views need two different edits to choose from")
    device = history.offsets.device
    first = torch.randint(len(edits), (history.num_rows,), generator=generator, device=device)
    step = torch.randint(1, len(edits), (history.num_rows,), generator=generator, device=device)
    second = (first + step) % len(edits)
    return view(history, first, edits, generator), view(history, second, edits, generator)


def view(history: Ragged, choice: Tensor, edits: Sequence[Edit], generator: torch.Generator) -> View:
    """Alter each row by the edit of its `choice` [B]; rows of one item stay."""
    choice = torch.where(history.lengths > 1, choice, UNCHANGED)
    parts = [history.take((choice == number).nonzero().flatten()) for number in range(len(edits))]
    drawings = tuple(edit.draw(part, generator) for edit, part in zip(edits, parts, strict=True))
    return View(assemble(history, choice, edits, parts, drawings), choice, drawings)


def replay(history: Ragged, recorded: View, edits: Sequence[Edit]) -> Ragged:
    """The view once more, from its record."""
    parts = [history.take((recorded.choice == number).nonzero().flatten()) for number in range(len(edits))]
    return assemble(history, recorded.choice, edits, parts, recorded.drawings)


def assemble(
    history: Ragged, choice: Tensor, edits: Sequence[Edit], parts: Sequence[Ragged], drawings: Sequence[Tensor]
) -> Ragged:
    """Apply each edit to its part and put the rows back in their order."""
    joined = history.take((choice == UNCHANGED).nonzero().flatten())
    for edit, part, drawing in zip(edits, parts, drawings, strict=True):
        joined = joined.join(edit.apply(part, drawing))
    return joined.take(choice.argsort(stable=True).argsort())


class Viewed(NamedTuple):
    """Histories, what came next, and two views of each history."""

    user: Tensor
    """[B] int64."""
    history: Ragged
    """B rows of items, oldest first."""
    target: Tensor
    """[B] after the whole row, or [n] after each of its items."""
    negative: Tensor
    """[B, k] or [n, k] items unknown to the user; k is 0 where the loss needs none."""
    first: Ragged
    """B rows."""
    second: Ragged
    """B rows."""


class ViewSampler:
    """The samples of another sampler, each with two views that are drawn anew in each epoch."""

    def __init__(self, samples: PrefixSampler | UserSampler, edits: Sequence[Edit]) -> None:
        self.samples, self.edits = samples, edits

    def steps(self, batch_size: int) -> int:
        """Batches per epoch; the last may be smaller."""
        return self.samples.steps(batch_size)

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Viewed]:
        """All samples once, in random order."""
        for block in self.samples.blocks(BLOCK * batch_size, generator):
            first, second = two_views(block.history, self.edits, generator)
            yield from cut(Viewed(*block, first.history, second.history), batch_size)
