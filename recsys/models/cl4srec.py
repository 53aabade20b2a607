"""CL4SRec: contrastive learning for sequential recommendation (Xie et al., ICDE 2022, arXiv 2010.14395).

Deviations: as in RecBole's line of code (DuoRec, MCLRec) the two views are made by two different edits, histories of
one item stay as they are, every beginning of a history is a sample, and the next item is learned by the full softmax.
The paper's own loss, one sampled negative, is `loss: bce`. The softmax is over the items, where that line of code has
the padding row as one more class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from graphcl.objectives import NTXent, cosine, dot
from graphcl.ranges import Dropout, Positive, Weight
from recsys.data.interactions import Interactions
from recsys.models.sequence import SequenceRecommender
from recsys.sequences.augment import Crop, Mask, Reorder
from recsys.sequences.sampler import PrefixSampler
from recsys.sequences.views import Viewed, ViewSampler


class CL4SRec(SequenceRecommender):
    """Two edits of a history are views of one user."""

    suggested: ClassVar[dict[str, Any]] = {"train_batch_size": 256, "learning_rate": 1e-3}

    @dataclass(frozen=True, kw_only=True)
    class Config(SequenceRecommender.Config):
        """Those of the backbone, the contrast and the views."""

        aliases: ClassVar[Mapping[str, str]] = {"lmd": "cl_weight", "tau": "temperature", "sim": "similarity"}

        cl_weight: Weight = 0.1
        """Weight of the contrast between the views."""
        temperature: Positive = 1.0
        """Temperature of the contrast."""
        similarity: Literal["dot", "cosine"] = "dot"
        """Similarity of the contrast."""
        crop_ratio: Dropout = 0.4
        """Share of a history that a crop leaves out."""
        mask_ratio: Dropout = 0.3
        """Share of a history that a mask replaces."""
        reorder_ratio: Dropout = 0.6
        """Share of a history that is shuffled."""

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.contrast = NTXent(config.temperature, similarity=dot if config.similarity == "dot" else cosine)

    def sampler(self) -> ViewSampler:
        """Every beginning of a history with two views: crop, mask or reorder."""
        config = self.config
        edits = (Crop(config.crop_ratio), Mask(self.mask_id, config.mask_ratio), Reorder(config.reorder_ratio))
        samples = PrefixSampler(self.histories, self.num_items, config.max_length, negatives=self.negatives)
        return ViewSampler(samples, edits)

    def forward(self, batch: Viewed, phase: str) -> dict[str, Tensor]:
        """`next_item` and `contrast`, means over their rows."""
        if not self.config.cl_weight:
            return {"next_item": self.next_item(self.encode(batch.history), batch.target, batch.negative)}
        state, first, second = self.encode(batch.history.join(batch.first).join(batch.second)).chunk(3)
        return {
            "next_item": self.next_item(state, batch.target, batch.negative),
            "contrast": self.config.cl_weight * self.contrast(first, second),
        }
