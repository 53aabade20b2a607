"""What every sequence encoder answers."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class SequenceEncoder(nn.Module, ABC):
    """Rows of vectors, flat and without padding, to states.

    Row r is `x[offsets[r]:offsets[r + 1]]`, oldest first. No row may be empty, none longer than the encoder's
    `max_length`. `hidden` [n] marks entries that later ones must not see (a masked item); the state after a hidden
    entry is still computed.
    """

    @abstractmethod
    def forward(self, x: Tensor, offsets: Tensor, hidden: Tensor | None = None) -> Tensor:
        """[n, d] vectors -> [R, d] the state after the last entry of each row."""

    @abstractmethod
    def every(self, x: Tensor, offsets: Tensor) -> Tensor:
        """[n, d] vectors -> [n, d] the state after each entry, which has seen that entry and all before it."""
