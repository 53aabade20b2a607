"""Popularity: everybody gets what most have taken. The floor that every table shows."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from graphcl.training.learner import Sampler
from recsys.data.interactions import Interactions
from recsys.models.base import Index, Recommender


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


class Popularity(ClosedForm):
    """The score of an item is its number of training events; ties go by the evaluator's rule."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Nothing to choose."""

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.register_buffer("counts", torch.zeros(train.num_items))

    counts: Tensor

    def begin_epoch(self, sampler: Sampler) -> None:
        """Count."""
        self.counts.copy_(torch.bincount(self.interactions.item, minlength=self.num_items))

    def index(self) -> Index:
        """Items are numbers [I, 1], every user is 1."""
        counts = self.counts.unsqueeze(1).clone()
        return Index(counts, lambda user, history: counts.new_ones(user.numel(), 1))
