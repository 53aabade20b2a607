"""ItemKNN: what is taken by the same people (Deshpande and Karypis, TOIS 2004, with shrunk cosine)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from graphcl.ranges import Count, Weight
from graphcl.training.learner import Sampler
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.models.base import Index
from recsys.models.closed_form import ClosedForm, HistoryIndex, who_took

TILE = 2**24
"""Entries of the similarity matrix that exist at a time."""


class ItemKNN(ClosedForm):
    r"""The score of item i is the sum, over the distinct items j of a history that have i among their neighbours, of

    $s_{ji} = |U_i \cap U_j| / (\sqrt{|U_i| |U_j|} + \text{shrink})$,   U_i the users of item i.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Keys of ItemKNN."""

        n_neighbors: Count = 100
        """Most similar items kept for each item, itself excluded."""
        shrink: Weight = 10.0
        """Added to the denominator: items with few users in common count less."""

    usual_search: ClassVar[dict[str, Any]] = {
        "n_neighbors": {"low": 20, "high": 400, "log": True},
        "shrink": {"low": 1.0, "high": 300.0, "log": True},
    }

    config: Config
    neighbors: Tensor
    similarity: Tensor

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        shape = (train.num_items, min(config.n_neighbors, train.num_items))
        self.register_buffer("neighbors", torch.zeros(shape, dtype=torch.int32))
        self.register_buffer("similarity", torch.zeros(shape))

    def begin_epoch(self, sampler: Sampler) -> None:
        """The similarities, tile by tile, and the largest of each row; among equal ones torch chooses."""
        table = who_took(self.interactions)
        users = table.T.tocsr()
        norm = torch.from_numpy(table.sum(1)).sqrt()
        height = max(1, TILE // self.num_items)
        for start in range(0, self.num_items, height):
            rows = slice(start, start + height)
            shared = torch.from_numpy((table[rows] @ users).toarray())
            similarity = shared / (norm[rows, None] * norm + self.config.shrink).clamp(min=1e-300)
            similarity[torch.arange(len(shared)), torch.arange(start, start + len(shared))] = 0
            values, items = similarity.topk(self.neighbors.shape[1])
            self.neighbors[rows], self.similarity[rows] = items.int(), values.float()

    def index(self) -> Index:
        """Reads whole histories."""
        neighbors, similarity = self.neighbors.long(), self.similarity.clone()
        num_items = self.num_items

        def respond(history: Ragged) -> Tensor:
            history = history.distinct(num_items)
            scores = similarity.new_zeros(history.num_rows, num_items)
            flat = history.row.unsqueeze(1) * num_items + neighbors[history.values]
            scores.view(-1).index_add_(0, flat.flatten(), similarity[history.values].flatten())
            return scores

        return HistoryIndex.of(respond, similarity)
