"""Recency: a user's own latest items, the latest first; below them what is popular.

Nothing is learned. Where people come back to items it can be ahead of trained sequence models on the first places
(measured on the Yelp of MCLRec: on the first five, not on twenty); rank it with `mask_history=False`, since masking a
user's history leaves nothing but popularity.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.training.learner import Sampler
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.models.base import Index
from recsys.models.closed_form import ClosedForm, HistoryIndex


class Recency(ClosedForm):
    """An item of the history scores the place of its last event, from 1 for the oldest; any other item less than 1."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Nothing to choose."""

    share: Tensor

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.register_buffer("share", torch.zeros(train.num_items))

    def begin_epoch(self, sampler: Sampler) -> None:
        """Popularity, between 0 and 1."""
        counts = torch.bincount(self.interactions.item, minlength=self.num_items)
        self.share.copy_(counts / (counts.max() + 1))

    def index(self) -> Index:
        """Reads whole histories."""
        share = self.share.clone()

        def respond(history: Ragged) -> Tensor:
            row = history.row
            place = torch.arange(1, row.numel() + 1, device=row.device) - history.offsets[row]
            scores = share.repeat(history.num_rows, 1)
            flat = row * len(share) + history.values
            scores.view(-1).scatter_reduce_(0, flat, place.to(scores.dtype), "amax")
            return scores

        return HistoryIndex.of(respond, share)
