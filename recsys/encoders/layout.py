"""Rows of unequal length as a few dense blocks, so that padding is hardly ever computed."""

from dataclasses import dataclass

import torch
from torch import Tensor

CAPS = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024)
"""Rows are gathered by the smallest cap that holds them; a factor of about 1.4 wastes a sixth of the slots at worst."""
FEWEST_ROWS = 24
"""A block of fewer rows than this joins the next longer one: a launch costs more than some padding."""


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
        for rows in split_by_length(rising):
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


def split_by_length(rising: Tensor) -> tuple[Tensor, ...]:
    """Cut rising lengths [R] where they pass a cap; blocks of few rows join the next one."""
    cuts = torch.searchsorted(rising, torch.tensor(CAPS), right=True).tolist()
    kept = [0]
    for cut in cuts:
        if cut - kept[-1] >= FEWEST_ROWS and rising.numel() - cut >= 1:
            kept.append(cut)
    return rising.split(torch.tensor([*kept, rising.numel()]).diff().tolist())
