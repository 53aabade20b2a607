"""One sequence encoder, one of many objectives: the next item learned from the batch, with no softmax over all items.

The state after a history and the embedding of the item that came next are two views of one event; the objective, named
in the configuration, is the only loss. Scores are cosines, as the objectives compare directions. It is no published
method: with infonce it is the in-batch softmax of two-tower retrieval, with corrected the one of Yi et al. (RecSys
2019), whose candidates weigh the inverse of how often they stand in the training histories; with alignment_uniformity
DirectAU's idea.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from recsys.data.interactions import Interactions
from recsys.models.objective import CLUSTERED, Clustering, Objective, ObjectiveKeys
from recsys.models.sequence import PlainSamples
from recsys.sequences.sampler import Sequences

Name = Literal[
    "infonce",
    "corrected",
    "ntxent",
    "dcl",
    "dclw",
    "debiased",
    "hard_negatives",
    "weighted",
    "adaptive",
    "supcon",
    "momentum",
    "margin",
    "alignment_uniformity",
    "barlow_twins",
    "vicreg",
    "jsd",
    "sigmoid",
    "circle",
]


class ContrastiveSequence(PlainSamples):
    """An objective draws each state to the item that came next."""

    suggested: ClassVar[dict[str, Any]] = {"train_batch_size": 256, "learning_rate": 1e-3}
    cosine_scores = True

    @dataclass(frozen=True, kw_only=True)
    class Config(ObjectiveKeys, PlainSamples.Config):
        """Those of the backbone, and of the objective."""

        samples: Literal["prefix", "user"] = "user"
        """Whether each beginning of a history is a sample, or each user with a target at every item (faster)."""
        objective: Name = "infonce"
        """What compares states and items. corrected: infonce whose candidates weigh the inverse of their frequency;
        weighted: negatives of the item's cluster do not count (MEOW); adaptive: they weigh by a network (AdaMEOW);
        supcon: events of one item are positives of each other; momentum: negatives are a queue (MoCo, without its slow
        encoder); margin: ntxent and MCLRec's regulariser; sigmoid: each pair by itself (SigLIP)."""

        def idle(self) -> dict[str, str]:
            """Those of other objectives, and the losses of other models."""
            only = dict.fromkeys(("loss", "n_negatives"), "the objective is the loss, its negatives are of the batch")
            return super().idle() | self.unread(self.objective, get_args(Name)) | only

    config: Config
    rarity: Tensor
    """[I] the inverse of how often an item stands in the training histories."""

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.objective = Objective(config.objective, config, config.embedding_size, repeat=True)
        count = torch.bincount(train.histories.values, minlength=self.num_items)
        self.register_buffer("rarity", 1 / count.clamp(min=1).float(), persistent=False)
        self.clusters: Clustering | None = None
        """Of items, where the objective knows of clusters."""

    def begin_epoch(self, sampler: Any) -> None:
        """Cluster the items where the objective needs it."""
        if self.config.objective in CLUSTERED:
            self.clusters = Clustering.of(self.items.weight[: self.num_items], self.config, self.generator)

    def forward(self, batch: Sequences, phase: str) -> dict[str, Tensor]:
        """`next_item`, a mean over targets."""
        loss = self.objective(
            self.states(batch),
            self.items(batch.target),
            batch.target,
            clusters=self.clusters,
            candidate_weight=self.rarity[batch.target],
        )
        return {"next_item": loss}
