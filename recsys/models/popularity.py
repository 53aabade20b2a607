"""Popularity: everybody gets what most have taken. The floor that every table shows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.training.learner import Sampler
from recsys.data.interactions import Interactions
from recsys.models.base import Index
from recsys.models.closed_form import ClosedForm


class Popularity(ClosedForm):
    """The score of an item is its number of training events; ties go by the evaluator's rule."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Nothing to choose."""

    counts: Tensor

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.register_buffer("counts", torch.zeros(train.num_items))

    def begin_epoch(self, sampler: Sampler) -> None:
        """Count."""
        self.counts.copy_(torch.bincount(self.interactions.item, minlength=self.num_items))

    def index(self) -> Index:
        """Items are numbers [I, 1], every user is 1."""
        counts = self.counts.unsqueeze(1).clone()
        return Index(counts, lambda user, history: counts.new_ones(user.numel(), 1))
