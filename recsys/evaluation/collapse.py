"""Whether a recommender's vectors collapse while it learns, and which loss term is at work."""

from collections.abc import Mapping
from typing import Any

import torch

from graphcl.evaluation.diagnostics import spread
from graphcl.objectives.noncontrastive import alignment
from graphcl.training.loop import to_device
from graphcl.training.shares import gradient_shares
from recsys.data.interactions import Interactions
from recsys.models.base import Recommender

SAMPLE = 1024
"""Users, items and pairs that are looked at; always the same ones."""


class CollapseMonitor:
    """Called by `fit` after an epoch; looks at the model every so many epochs, with draws of its own.

    Alignment: mean squared distance of a user and an item of a training pair, on the unit sphere (0 is perfect).
    Uniformity: log of the mean Gaussian potential among users, among items; 0 is one point (Wang & Isola, ICML 2020).
    Effective rank: exponential of the entropy of singular values; 1 is a line, the width of the vectors is full.
    Gradient shares: `graphcl.training.shares.gradient_shares` on one batch.
    """

    def __init__(self, model: Recommender, train: Interactions, *, every: int, batch_size: int) -> None:
        self.model, self.train, self.every, self.batch_size = model, train, every, batch_size
        generator = torch.Generator().manual_seed(0)
        self.pair = torch.randint(len(train), (min(SAMPLE, len(train)),), generator=generator)
        counts = torch.bincount(train.user, minlength=train.num_users), train.item_counts
        self.users, self.items = (
            active[torch.randperm(len(active), generator=generator)[:SAMPLE]]
            for active in (count.nonzero().flatten() for count in counts)
        )

    def __call__(self, epoch: int, sampler: Any) -> Mapping[str, Mapping[str, float]]:
        """The blocks `collapse` and `gradient_shares` of the epoch's record; nothing between two looks."""
        if not self.every or epoch % self.every or not self.model.phases:
            return {}
        batch = next(iter(sampler.batches(self.batch_size, torch.Generator().manual_seed(0))))
        return {
            "collapse": self.spread(),
            "gradient_shares": gradient_shares(self.model, to_device(batch, self.model.device)),
        }

    @torch.no_grad()
    def spread(self) -> dict[str, float]:
        """How the vectors that are compared lie on the sphere."""
        index = self.model.index()
        device = index.items.device
        asked = torch.cat([self.train.user[self.pair], self.users])
        history = self.train.histories.take(asked)
        history = history.last(index.length) if index.length else history
        vectors = index.ask(asked.to(device), history.to(device)).float()
        paired, users = vectors[: len(self.pair)], vectors[len(self.pair) :]
        items = index.items.index_select(0, self.items.to(device)).float()
        partners = index.items.index_select(0, self.train.item[self.pair].to(device)).float()
        found = {"alignment": float(alignment(paired, partners))}
        for name, side in (("user", users), ("item", items)):
            found |= {f"{name}_{what}": value for what, value in spread(side)._asdict().items()}
        return found
