"""ICSRec: intent contrastive learning with cross subsequences (Qin et al., WSDM 2024, arXiv 2310.14318).

Deviations from the authors' code, with the setting that undoes all but the last (or, of k-means, comes near):
- a partner is drawn anew each time, as the paper says (`pairing: last`: the last differing one, always the same);
- the first subsequence is encoded once for all terms (`separate_passes: true`: twice, with independent dropout; equal
  in expectation, and exactly without dropout);
- k-means starts from the centroids of the epoch before (`warm_start: false`, `n_init: 5`: still seeded by k-means++,
  with draws anew each epoch, where theirs has the same seed in each);
- seen items are left out of rankings rather than scored 0, and padding and mask are never ranked: no difference on the
  published checkpoints.

Kept as in the code: padding and mask are classes of the softmax that are never right; the fine term is a sum over both
views; states are assigned to raw centroids but contrasted with unit-length ones, which are anchors too.
The authors' GRU is `encoder: gru`, `n_layers: 1`, `gru_start: padding`, `initializer_range: 1`; their vector of
padding starts from zero, ours does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from graphcl.objectives import NTXent, cosine, dot
from graphcl.ranges import Weight
from recsys.data.interactions import Interactions
from recsys.models.intents import IntentKeys, Intents
from recsys.models.sequence import SequenceRecommender
from recsys.sequences.intents import Pairing, Partners, PartnerSampler


class ICSRec(SequenceRecommender):
    """Subsequences that lead to one item share a coarse intent; those of one cluster share a fine one."""

    special_classes = 2
    suggested: ClassVar[dict[str, Any]] = {
        "train_batch_size": 256,
        "learning_rate": 1e-3,
        "epochs": 300,
        "patience": 40,
    }

    @dataclass(frozen=True, kw_only=True)
    class Config(IntentKeys, SequenceRecommender.Config):
        """Those of the backbone, of the intents, and the two contrasts."""

        aliases: ClassVar[Mapping[str, str]] = {
            "lambda_0": "coarse_weight",
            "beta_0": "fine_weight",
            "f_neg": "mask_false_negatives",
            "intent_num": "n_intents",
            "num_intent_clusters": "n_intents",
            "sim": "similarity",
        }

        positions: Literal["oldest", "newest"] = "newest"
        """Transformer: whether positions are counted from the oldest item (right padding) or the newest (left)."""
        rec_weight: Weight = 1.0
        """Weight of the next-item loss."""
        coarse_weight: Weight = 0.1
        """Weight of the contrast between subsequences with the same target."""
        fine_weight: Weight = 0.1
        """Weight of the contrasts between states and their clusters."""
        similarity: Literal["dot", "cosine"] = "dot"
        """Similarity of both contrasts."""
        mask_false_negatives: bool = True
        """Whether rows of one target, or of one cluster, are kept from being negatives of each other."""
        pairing: Pairing = "random"
        """Which subsequence of the same target is the partner: another, drawn anew, or always the last in the data."""
        separate_passes: bool = False
        """Whether the next-item loss has an encoding of its own, with other dropout."""

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.contrast = NTXent(config.temperature, similarity=dot if config.similarity == "dot" else cosine)
        self.intents = Intents(config, config.embedding_size, self.contrast)

    def sampler(self) -> PartnerSampler:
        """Every beginning of a history, with a partner."""
        config = self.config
        sampler = PartnerSampler(
            self.histories, self.num_items, config.max_length, negatives=self.negatives, pairing=config.pairing
        )
        if config.fine_weight:
            self.intents.refuse_fewer(sampler.num_samples, "subsequences")
        return sampler

    def begin_epoch(self, sampler: PartnerSampler) -> None:  # type: ignore[override]
        """Cluster the states of all subsequences."""
        if self.config.fine_weight:
            histories = (history.to(self.device) for history in sampler.inputs_by_length())
            self.intents.find((self.encode(history) for history in histories), self.generator)

    def forward(self, batch: Partners, phase: str) -> dict[str, Tensor]:
        """`next_item`, `coarse` and `fine`, each a mean over its rows (the fine term: the sum of two means)."""
        config = self.config
        here, there = self.encode(batch.history.join(batch.partner)).chunk(2)
        read = self.encode(batch.history) if config.separate_passes else here
        terms = {"next_item": config.rec_weight * self.next_item(read, batch.target, batch.negative)}
        if config.coarse_weight:
            group = batch.target if config.mask_false_negatives else None
            terms["coarse"] = config.coarse_weight * self.contrast(here, there, group=group)
        if config.fine_weight:
            terms["fine"] = config.fine_weight * (self.intents(here) + self.intents(there))
        return terms
