"""Lists of unequal length without padding: flat values and offsets."""

from typing import NamedTuple

import torch
from torch import Tensor


class Ragged(NamedTuple):
    """Rows of unequal length: row r is `values[offsets[r]:offsets[r + 1]]`."""

    values: Tensor
    """[n] the rows, one after another."""
    offsets: Tensor
    """[R + 1] int64, from 0 to n, never falling."""

    @classmethod
    def of(cls, rows: list[list[int]]) -> "Ragged":
        """From Python lists; for tests and small queries."""
        lengths = torch.tensor([0, *map(len, rows)])
        return cls(torch.tensor([value for row in rows for value in row], dtype=torch.long), lengths.cumsum(0))

    @classmethod
    def group(cls, row: Tensor, values: Tensor, num_rows: int) -> "Ragged":
        """Collect `values` [n] by `row` [n]; the order within a row stays."""
        order = torch.argsort(row, stable=True)
        return cls(values[order], offsets_of(torch.bincount(row, minlength=num_rows)))

    @property
    def num_rows(self) -> int:
        """R."""
        return self.offsets.numel() - 1

    @property
    def lengths(self) -> Tensor:
        """[R] how long each row is."""
        return self.offsets.diff()

    @property
    def row(self) -> Tensor:
        """[n] the row of each value."""
        return torch.repeat_interleave(torch.arange(self.num_rows, device=self.offsets.device), self.lengths)

    def take(self, rows: Tensor) -> "Ragged":
        """The named rows [B], in that order; a row may occur twice."""
        return self.slice(self.offsets[rows], self.offsets[rows + 1])

    def slice(self, start: Tensor, stop: Tensor) -> "Ragged":
        """Rows that are pieces `values[start[b]:stop[b]]` of the flat values; `start`, `stop` are [B] int64."""
        offsets = offsets_of(stop - start)
        index = torch.repeat_interleave(start - offsets[:-1], stop - start)
        index += torch.arange(index.numel(), device=index.device)
        return Ragged(self.values.index_select(0, index), offsets)  # faster than indexing, on a CPU

    def last(self, length: int) -> "Ragged":
        """The last `length` values of each row."""
        stop = self.offsets[1:]
        return self.slice(torch.maximum(self.offsets[:-1], stop - length), stop)

    def distinct(self, below: int) -> "Ragged":
        """Each value of a row once, rising; all values are at least 0 and less than `below`."""
        pair = torch.unique(self.row * below + self.values)
        return Ragged.group(pair // below, pair % below, self.num_rows)

    def append(self, values: Tensor) -> "Ragged":
        """Each row with one more value at its end; `values` is [R]."""
        offsets = self.offsets + torch.arange(self.num_rows + 1, device=self.offsets.device)
        flat = self.values.new_empty(self.values.numel() + self.num_rows)
        keep = torch.ones_like(flat, dtype=torch.bool)
        keep[offsets[1:] - 1] = False
        flat[keep] = self.values
        flat[offsets[1:] - 1] = values
        return Ragged(flat, offsets)

    def join(self, other: "Ragged") -> "Ragged":
        """The rows of both, those of `other` behind."""
        offsets = torch.cat([self.offsets, other.offsets[1:] + self.offsets[-1]])
        return Ragged(torch.cat([self.values, other.values]), offsets)

    def padded(self, value: int, *, left: bool = False) -> Tensor:
        """[R, longest] the rows with `value` after (or, if `left`, before) them."""
        longest = int(self.lengths.max()) if self.num_rows else 0
        table = self.values.new_full((self.num_rows, longest), value)
        position = torch.arange(self.values.numel(), device=self.offsets.device)
        column = position - torch.repeat_interleave(self.offsets[:-1], self.lengths)
        if left:
            column = column + torch.repeat_interleave(longest - self.lengths, self.lengths)
        table[self.row, column] = self.values
        return table

    def to(self, device: torch.device | str) -> "Ragged":
        """The same rows on another device."""
        return Ragged(self.values.to(device), self.offsets.to(device))


def offsets_of(lengths: Tensor) -> Tensor:
    """[R] lengths -> [R + 1] offsets."""
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
