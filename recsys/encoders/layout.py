"""Rows of unequal length as a few dense blocks, so that padding is hardly ever computed."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COST_OF_BLOCK = {"cpu": 48, "cuda": 8192}
"""How many slots of padding take as long as the launches of one more block."""


@dataclass(frozen=True)
class Block:
    """Slots `start : start + rows * length`, read as a [rows, length] table."""

    start: int
    rows: int
    length: int
    lengths: Tensor
    """[rows] how many slots of each row are real."""
    full: bool
    """Whether the block has no padding."""

    @property
    def stop(self) -> int:
        """Where the block ends."""
        return self.start + self.rows * self.length

    def cut(self, values: Tensor | None) -> Tensor | None:
        """[slots] -> [rows, length], those of this block."""
        return None if values is None else values[self.start : self.stop].view(self.rows, self.length)


@dataclass(frozen=True)
class Layout:
    """Where each entry of ragged rows lies, once they are sorted by length and padded block by block."""

    blocks: tuple[Block, ...]
    size: int
    """How many slots there are, padding included."""
    slot: Tensor
    """[n] the slot of each entry."""
    column: Tensor
    """[n] the place of each entry in its row."""
    last: Tensor
    """[R] the slot of the last entry of each row, in the order of the blocks."""
    place: Tensor
    """[R] where each row stands in the order of the blocks."""
    lengths: Tensor
    """[R] how long each row is."""

    @classmethod
    def of(cls, offsets: Tensor) -> "Layout":
        """The layout of rows with these offsets [R + 1]; no row may be empty."""
        lengths = offsets.diff()
        rising, order = lengths.cpu().sort(stable=True)
        blocks, start = [], 0
        for rows in split_by_length(rising, COST_OF_BLOCK.get(offsets.device.type, 32)):
            shortest, longest = int(rows[0]), int(rows[-1])
            block = Block(start, rows.numel(), longest, rows.to(offsets.device), shortest == longest)
            blocks.append(block)
            start = block.stop
        first = torch.cat([torch.arange(b.rows) * b.length + b.start for b in blocks]).to(offsets.device)
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel())
        place = place.to(offsets.device)
        row = torch.repeat_interleave(lengths)
        column = torch.arange(row.numel(), device=offsets.device) - offsets[row]
        last = first + rising.to(offsets.device) - 1
        return cls(tuple(blocks), start, first[place][row] + column, column, last, place, lengths)

    def spread(self, values: Tensor, fill: float = 0) -> Tensor:
        """[n, ...] entries -> [size, ...] slots, padding filled."""
        return values.new_full((self.size, *values.shape[1:]), fill).index_copy(0, self.slot, values)


def split_by_length(rising: Tensor, cost_of_block: int) -> tuple[Tensor, ...]:
    """Cut rising lengths [R] where the sum of all slots and of the costs of all blocks is least.

    Best cuts before each distinct length, one after another: the last block begins at one of them, all are tried.
    """
    distinct, counts = (part.numpy() for part in rising.unique_consecutive(return_counts=True))
    behind = np.concatenate([[0], counts.cumsum()])
    cost, begins = np.zeros(len(behind)), np.zeros(len(behind), dtype=int)
    for end in range(1, len(behind)):
        total = cost[:end] + distinct[end - 1] * (behind[end] - behind[:end])
        begins[end] = total.argmin()
        cost[end] = total[begins[end]] + cost_of_block
    cuts, end = [], len(distinct)
    while end:
        cuts.append(behind[end] - behind[begins[end]])
        end = begins[end]
    return rising.split([int(rows) for rows in reversed(cuts)])
