"""ICLRec: intent contrastive learning for sequential recommendation (Chen et al., WWW 2022, arXiv 2202.02519).

Deviations from the authors' code: the contrast of views compares the means of their states, where theirs flattens all
positions, padding included, which needs a fixed length, and has padding in the means of intents, too; masks are a token
that is seen, where theirs are padding; the two edits of a row always differ; k-means starts from the centroids of the
epoch before (`warm_start`); a crop may keep the newest item and a reorder move it, which theirs never do from five
items on; the last `max_length` items are edited, where theirs edits the whole history and then cuts it; both contrasts
share one pass over the views; sampled negatives may be items of the user's valid and test. As in their scripts false
negatives are not masked (the paper: `mask_false_negatives`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from graphcl.objectives import NTXent, dot
from graphcl.ranges import Count, Dropout, Weight
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.models.intents import IntentKeys, Intents
from recsys.models.sequence import SequenceRecommender
from recsys.sequences.augment import Crop, Mask, Reorder
from recsys.sequences.sampler import UserSampler
from recsys.sequences.views import Viewed, ViewSampler


class ICLRec(SequenceRecommender):
    """Views of a user are alike, and like the intent that k-means finds for the user."""

    suggested: ClassVar[dict[str, Any]] = {
        "train_batch_size": 256,
        "learning_rate": 1e-3,
        "epochs": 300,
        "patience": 40,
    }

    @dataclass(frozen=True, kw_only=True)
    class Config(IntentKeys, SequenceRecommender.Config):
        """Those of the backbone, of the intents, the contrasts and the views."""

        aliases: ClassVar[Mapping[str, str]] = {
            "cf_weight": "cl_weight",
            "intent_cf_weight": "intent_weight",
            "num_intent_clusters": "n_intents",
        }

        positions: Literal["oldest", "newest"] = "newest"
        """Transformer: whether positions are counted from the oldest item (right padding) or the newest (left)."""
        loss: Literal["softmax", "bce", "bpr"] = "bce"
        """How the next item is learned: against all items, or against sampled ones."""
        cl_weight: Weight = 0.1
        """Weight of the contrast between views."""
        intent_weight: Weight = 0.1
        """Weight of the contrast between views and intents, the mean over both views."""
        n_intents: Count = 256
        """Clusters of users."""
        intent_of: Literal["history", "view"] = "history"
        """Whose nearest cluster is the intent of a view: the history's, or its own."""
        mask_false_negatives: bool = False
        """Whether users of one intent are kept from being negatives of each other, in the contrast with intents."""
        crop_ratio: Dropout = 0.8
        """Share of a history that a crop leaves out (the authors name what it keeps, 0.2)."""
        mask_ratio: Dropout = 0.7
        """Share of a history that a mask replaces."""
        reorder_ratio: Dropout = 0.2
        """Share of a history that is shuffled."""

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.contrast = NTXent(config.temperature, similarity=dot)
        self.intents = Intents(config, config.embedding_size, self.contrast)

    def sampler(self) -> ViewSampler:
        """Each user once, with a target at every item, and two views: crop, mask or reorder."""
        config = self.config
        edits = (Crop(config.crop_ratio), Mask(self.mask_id, config.mask_ratio), Reorder(config.reorder_ratio))
        samples = UserSampler(self.histories, self.num_items, config.max_length, negatives=self.negatives)
        if config.intent_weight:
            self.intents.refuse_fewer(samples.num_samples, "users with two items")
        return ViewSampler(samples, edits)

    def begin_epoch(self, sampler: ViewSampler) -> None:  # type: ignore[override]
        """Cluster the users by the means of their states."""
        if self.config.intent_weight:
            histories = (history.to(self.device) for history in sampler.samples.inputs_by_length())
            self.intents.find((self.mean_state(history) for history in histories), self.generator)

    def forward(self, batch: Viewed, phase: str) -> dict[str, Tensor]:
        """`next_item`, a mean over targets; `contrast` and `intent`, means over their rows."""
        config = self.config
        state = self.encode_every(batch.history)
        terms = {"next_item": self.next_item(state, batch.target, batch.negative)}
        if not config.cl_weight and not config.intent_weight:
            return terms
        first, second = self.mean_state(batch.first.join(batch.second)).chunk(2)
        if config.cl_weight:
            terms["contrast"] = config.cl_weight * self.contrast(first, second)
        if config.intent_weight:
            whole = mean_of(state, batch.history) if config.intent_of == "history" else None
            intent = self.intents(first, whole) + self.intents(second, whole)
            terms["intent"] = config.intent_weight * intent / 2
        return terms

    def mean_state(self, history: Ragged) -> Tensor:
        """[B, d] the mean of the states after each item."""
        return mean_of(self.encode_every(history), history)


def mean_of(states: Tensor, history: Ragged) -> Tensor:
    """[B, d] the mean of the states [n, d] after each item of each history."""
    total = states.new_zeros(history.num_rows, states.shape[1]).index_add(0, history.row, states)
    return total / history.lengths.unsqueeze(1)
