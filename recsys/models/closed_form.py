"""What models share that are computed at once and answer to a history alone."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from scipy.sparse import csr_array
from torch import Tensor

from graphcl.training.learner import Sampler
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.models.base import Index, Recommender

WHOLE_HISTORY = 2**62
"""An `Index.length` that no history reaches."""


class NoBatches:
    """The sampler of models that are computed at once."""

    def steps(self, batch_size: int) -> int:
        """None."""
        return 0

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Any]:
        """Nothing."""
        return iter(())


class ClosedForm(Recommender):
    """A model without gradients: `begin_epoch` computes persistent buffers from the data, a checkpoint holds them."""

    phases: ClassVar[tuple[str, ...]] = ()

    def __init__(self, train: Interactions, config: Any) -> None:
        super().__init__(train, config)
        self.interactions = train

    def sampler(self) -> Sampler:
        """Without batches."""
        return NoBatches()

    def forward(self, batch: Any, phase: str) -> dict[str, Tensor]:
        """Without losses."""
        return {}

    @abstractmethod
    def begin_epoch(self, sampler: Sampler) -> None:
        """Compute the buffers from `self.interactions`."""


@dataclass(frozen=True, kw_only=True)
class HistoryIndex(Index):
    """An index without vectors: scores follow from a user's whole history and from nothing else.

    Known and unknown users are therefore alike, and events after the training change the answer at once.
    """

    respond: Callable[[Ragged], Tensor]
    """history of B rows, oldest first -> [B, I] fresh scores"""

    @classmethod
    def of(cls, respond: Callable[[Ragged], Tensor], like: Tensor) -> "HistoryIndex":
        """The index of a model whose items are the rows of `like`."""
        vectors = like.new_empty(len(like), 0)
        return cls(vectors, lambda user, history: vectors.new_empty(user.numel(), 0), WHOLE_HISTORY, respond=respond)

    def score(self, user: Tensor, history: Ragged) -> Tensor:
        """[B, I]"""
        return self.respond(history)


def who_took(interactions: Interactions) -> csr_array:
    """[I, U] float64, 1 where a user has taken an item at least once."""
    shape = (interactions.num_items, interactions.num_users)
    item, user = interactions.item.cpu().numpy(), interactions.user.cpu().numpy()
    table = csr_array((torch.ones(len(interactions), dtype=torch.float64).numpy(), (item, user)), shape=shape)
    table.sum_duplicates()
    table.data[:] = 1.0
    return table
