"""What MoCo needs beside its loss: a queue of past keys and an encoder that follows another one slowly."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from graphcl.errors import InputError


class NegativeQueue(nn.Module):
    """The last `capacity` rows that were pushed, first in, first out, with an id each (arXiv 1911.05722).

    It starts empty, not with random rows; batches of any size wrap around. Rows carry no gradient. `rows` and `ids` go
    to a `Contrast` as `negatives` and `negative_group`, so that an anchor never meets an older copy of itself.
    """

    def __init__(self, capacity: int, embedding_size: int) -> None:
        super().__init__()
        if capacity < 1:
            raise InputError(f"A queue needs room for at least one row, not {capacity}.")
        self.storage: Tensor
        self.storage_ids: Tensor
        self.pushed: Tensor
        self.register_buffer("storage", torch.zeros(capacity, embedding_size))
        self.register_buffer("storage_ids", torch.full((capacity,), -1, dtype=torch.int64))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return min(int(self.pushed), len(self.storage))

    @property
    def rows(self) -> Tensor:
        """What the queue holds, [K, d] with K <= capacity, in no order that matters."""
        return self.storage[: len(self)]

    @property
    def ids(self) -> Tensor:
        """The id of each row, -1 where none was given, int64 [K]."""
        return self.storage_ids[: len(self)]

    @torch.no_grad()
    def push(self, rows: Tensor, ids: Tensor | None = None) -> None:
        """Append `rows` [B, d], displacing the oldest; of a batch larger than the queue the last rows stay.

        Raises `InputError` for rows of another width, and for ids that are not int64 [B].
        """
        capacity, width = self.storage.shape
        if rows.dim() != 2 or rows.shape[1] != width:
            raise InputError(f"This queue holds rows of {width} numbers, got a table of shape {list(rows.shape)}.")
        if ids is not None and (ids.shape != rows.shape[:1] or ids.dtype != torch.int64):
            raise InputError(f"ids needs an int64 for each of {len(rows)} rows, got {ids.dtype} {list(ids.shape)}.")
        kept = slice(max(0, len(rows) - capacity), len(rows))
        position = (int(self.pushed) + torch.arange(kept.start, kept.stop, device=rows.device)) % capacity
        # A new tensor, because the loss of this step may still hold the old one for its backward pass.
        self.storage = self.storage.index_copy(0, position, rows[kept].detach().to(self.storage.dtype))
        new_ids = torch.full_like(position, -1) if ids is None else ids[kept]
        self.storage_ids = self.storage_ids.index_copy(0, position, new_ids)
        self.pushed += len(rows)


class MomentumEncoder(nn.Module):
    """A copy of `encoder` that follows it: theta' <- momentum theta' + (1 - momentum) theta.

    Parameters take no gradient; buffers are copied as they are. Call `update()` after each optimiser step.
    `momentum` 1 freezes the copy, 0 keeps it equal.
    """

    def __init__(self, encoder: nn.Module, momentum: float = 0.999) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise InputError(f"momentum is a share between 0 and 1, not {momentum}.")
        self.copy = deepcopy(encoder).requires_grad_(False)
        self.momentum = momentum
        self._followed = (encoder,)  # a tuple hides it from `parameters()`: the owner trains it

    def forward(self, *inputs: object) -> Tensor:
        """What the copy makes of `inputs`, without gradient."""
        with torch.no_grad():
            output: Tensor = self.copy(*inputs)
        return output

    @torch.no_grad()
    def update(self) -> None:
        """One step towards the encoder."""
        (encoder,) = self._followed
        for mine, theirs in zip(self.copy.parameters(), encoder.parameters(), strict=True):
            mine.lerp_(theirs, 1 - self.momentum)
        for buffer, current in zip(self.copy.buffers(), encoder.buffers(), strict=True):
            buffer.copy_(current)
