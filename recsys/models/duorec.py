"""DuoRec: contrastive learning for representation degeneration problem (Qiu et al., WSDM 2022, arXiv 2110.05730).

`views` names what is contrasted, after the authors' code: "crossed" (theirs: us_x, the paper's loss) the history under
other dropout with another history of the same target, "dropout" (un) the history under two dropouts, "target" (su) the
history with one of the same target; their us, the sum of the two, is not here. Deviations: the partner's history
differs from the sample's, where theirs is only another sample; the softmax is over the items, where theirs has the
padding row as one more class. As in their code rows of one target stay negatives of each other, unless
`mask_false_negatives`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from graphcl.objectives import NTXent, cosine, dot
from graphcl.ranges import Positive, Weight
from recsys.data.interactions import Interactions
from recsys.models.sequence import SequenceRecommender
from recsys.sequences.intents import Partners, PartnerSampler


class DuoRec(SequenceRecommender):
    """Dropout makes one view of a history, another history with the same target the second."""

    suggested: ClassVar[dict[str, Any]] = {"train_batch_size": 256, "learning_rate": 1e-3}

    @dataclass(frozen=True, kw_only=True)
    class Config(SequenceRecommender.Config):
        """Those of the backbone, and the contrast."""

        aliases: ClassVar[Mapping[str, str]] = {"lmd_sem": "cl_weight", "tau": "temperature", "sim": "similarity"}

        cl_weight: Weight = 0.1
        """Weight of the contrast."""
        temperature: Positive = 1.0
        """Temperature of the contrast."""
        similarity: Literal["dot", "cosine"] = "dot"
        """Similarity of the contrast."""
        views: Literal["crossed", "dropout", "target"] = "crossed"
        """What is contrasted: see the module."""
        mask_false_negatives: bool = False
        """Whether rows of one target are kept from being negatives of each other."""

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.contrast = NTXent(config.temperature, similarity=dot if config.similarity == "dot" else cosine)

    def sampler(self) -> PartnerSampler:
        """Every beginning of a history, with another of the same target."""
        return PartnerSampler(self.histories, self.num_items, self.config.max_length, negatives=self.negatives)

    def forward(self, batch: Partners, phase: str) -> dict[str, Tensor]:
        """`next_item` and `contrast`, means over their rows."""
        history, views = batch.history, self.config.views
        if not self.config.cl_weight:
            return {"next_item": self.next_item(self.encode(history), batch.target, batch.negative)}
        second = {"crossed": history.join(batch.partner), "dropout": history, "target": batch.partner}[views]
        state, *others = self.encode(history.join(second)).split(history.num_rows)
        pair = others if views == "crossed" else (state, *others)
        group = batch.target if self.config.mask_false_negatives else None
        return {
            "next_item": self.next_item(state, batch.target, batch.negative),
            "contrast": self.config.cl_weight * self.contrast(*pair, group=group),
        }
