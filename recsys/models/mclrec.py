"""MCLRec: meta-optimized contrastive learning for sequential recommendation (Qin et al., SIGIR 2023).

Each batch makes three first-order updates, as the authors' code does: encoder, augmenters, encoder; no gradient passes
through an update. Settings and deviations:
- updates two and three see the same encoder; `shared_pass` lets them share one pass through it (and its dropout);
- update two minimises the meta term alone; the code adds `cl_weight` x contrast, a constant there;
- the margin's weight is 0.1 in update two and `meta_weight` x 0.1 in the others, as in the code (the paper has one);
- `temperature` and `similarity` are those of the contrast between the edited views, the temperature also the margin's;
  the meta term has temperature 1 and inner products, as in the code;
- masks put the padding id and hide it from attention; a view that ends on one has the state of a padding item; padding
  is a class of the softmax that is never right, and learns from that alone;
- published numbers do not mask the history: `evaluation.mask_history: false` compares with them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphcl.objectives import NTXent, cosine, dot, margin_regulariser
from graphcl.ranges import Count, Dropout, Positive, Weight
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.models.sequence import SequenceRecommender
from recsys.sequences.augment import Crop, Mask, Reorder
from recsys.sequences.sampler import PrefixSampler
from recsys.sequences.views import Viewed, ViewSampler


class MCLRec(SequenceRecommender):
    """Two edits of a history, and two learned augmentations of their states, are four views to contrast."""

    special_classes = 1
    suggested: ClassVar[dict[str, Any]] = {"train_batch_size": 256, "learning_rate": 1e-3, "epochs": 100}

    @dataclass(frozen=True, kw_only=True)
    class Config(SequenceRecommender.Config):
        """Those of the backbone, the views, and the weights of the terms."""

        aliases: ClassVar[Mapping[str, str]] = {
            "lmd": "cl_weight",
            "beta": "meta_weight",
            "tau": "temperature",
            "sim": "similarity",
            "use_rl": "regularise",
        }

        cl_weight: Weight = 0.0
        """Weight of the contrast between the two edited views."""
        meta_weight: Weight = 0.01
        """Weight of the contrasts with augmented views, in the encoder's updates."""
        temperature: Positive = 1.0
        """Temperature of the contrast between the edited views."""
        similarity: Literal["dot", "cosine"] = "dot"
        """Similarity of the contrast between the edited views."""
        regularise: bool = True
        """Whether the margin takes part in the meta term."""
        margin_weight: Weight = 0.1
        """Weight of the margin beside the contrasts of the meta term."""
        joint: bool = False
        """Whether one update of everything replaces the three."""
        shared_pass: bool = True
        """Whether updates two and three share a pass through the encoder; without dropout it makes no difference."""
        augmenter: Literal["mlp", "attention"] = "mlp"
        """What augments a state: a small network on each, or attention among the states of a batch."""
        augmenter_sizes: tuple[Count, ...] = (32, 16)
        """Hidden sizes of the small network."""
        shared_augmenter: bool = False
        """Whether one augmenter serves both views."""
        crop_ratio: Dropout = 0.5
        """Share of a history that a crop leaves out."""
        mask_ratio: Dropout = 0.5
        """Share of a history that a mask hides."""
        reorder_ratio: Dropout = 0.8
        """Share of a history that is shuffled."""

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        first = augmenter_of(config)
        self.augmenters = nn.ModuleList([first, first if config.shared_augmenter else augmenter_of(config)])
        self.contrast = NTXent(config.temperature, similarity=dot if config.similarity == "dot" else cosine)
        self.meta_contrast = NTXent(1.0, similarity=dot)
        self.phases = ("joint",) if config.joint else ("encoder", "augmenters", "encoder")  # type: ignore[misc]
        self.kept_pass: tuple[Viewed, tuple[Tensor, Tensor, Tensor]] | None = None

    def sampler(self) -> ViewSampler:
        """Every beginning of a history with two views: crop, mask or reorder."""
        config = self.config
        mask = Mask(self.padding_id, config.mask_ratio)
        edits = (Crop(config.crop_ratio), mask, Reorder(config.reorder_ratio))
        samples = PrefixSampler(self.histories, self.num_items, config.max_length, negatives=self.negatives)
        return ViewSampler(samples, edits)

    def learns(self, phase: str) -> Iterable[nn.Parameter]:
        """The encoder with its items, or the augmenters, or everything."""
        if phase == "joint":
            return self.parameters()
        return self.augmenters.parameters() if phase == "augmenters" else self.encoder_parameters()

    def encoder_parameters(self) -> Iterable[nn.Parameter]:
        """All but the augmenters."""
        return [*self.items.parameters(), *self.encoder.parameters()]

    def forward(self, batch: Viewed, phase: str) -> dict[str, Tensor]:
        """Encoder, joint: `next_item`, `contrast`, `meta`, `margin`. Augmenters: `augmented`, `augmented_margin`."""
        config = self.config
        if phase == "augmenters":
            read = self.first_of_shared_pass(batch) if config.shared_pass else self.views(batch)
            meta = self.meta(*(view.detach() for view in read))
            return {f"augmented{name.removeprefix('meta')}": value for name, value in meta.items()}
        state, first, second = self.last_of_shared_pass(batch) or self.read(batch)
        terms = {"next_item": self.next_item(state, batch.target, batch.negative)}
        if config.cl_weight:
            terms["contrast"] = config.cl_weight * self.contrast(first, second)
        if config.meta_weight:
            meta = self.meta(first, second)
            terms |= {name: config.meta_weight * value for name, value in meta.items()}
        return terms

    def meta(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        """The contrasts of states [B, d] with augmented states and of these with each other, and the margin."""
        augmented = [augmenter(view) for augmenter, view in zip(self.augmenters, (first, second), strict=True)]
        pairs = ((first, augmented[1]), (second, augmented[0]), (augmented[0], augmented[1]))
        terms = {"meta": torch.stack([self.meta_contrast(a, b) for a, b in pairs]).sum()}
        if self.config.regularise and self.config.margin_weight and len(first) > 1:
            margins = [margin_regulariser(a, b, temperature=self.config.temperature) for a, b in pairs]
            terms["meta_margin"] = self.config.margin_weight * torch.stack(margins).sum()
        return terms

    def read(self, batch: Viewed) -> tuple[Tensor, Tensor, Tensor]:
        """States [B, d] of the histories and of both views, in one pass."""
        every = batch.history.join(batch.first).join(batch.second)
        state, first, second = self.encode(every, self.hidden(every)).chunk(3)
        return state, first, second

    def views(self, batch: Viewed) -> tuple[Tensor, Tensor]:
        """States [B, d] of both views, without gradient."""
        both = batch.first.join(batch.second)
        with torch.no_grad():
            first, second = self.encode(both, self.hidden(both)).chunk(2)
        return first, second

    def hidden(self, history: Ragged) -> Tensor:
        """[n] whether each item is masked."""
        return history.values == self.padding_id

    def first_of_shared_pass(self, batch: Viewed) -> tuple[Tensor, Tensor]:
        """Both views' states for update two; the pass is kept for update three, which follows at once."""
        states = self.read(batch)
        self.kept_pass = (batch, states)
        return states[1:]

    def last_of_shared_pass(self, batch: Viewed) -> tuple[Tensor, Tensor, Tensor] | None:
        """The states of the kept pass, if it was over this batch; they are given away once."""
        kept, self.kept_pass = self.kept_pass, None
        return kept[1] if kept is not None and kept[0] is batch else None


class MLPAugmenter(nn.Sequential):
    """Linear maps with GELU between; the result has length one."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        for into, out in pairwise(sizes):
            layers += [nn.Linear(into, out), nn.GELU()]
        super().__init__(*layers[:-1])

    def forward(self, state: Tensor) -> Tensor:
        """[B, d] -> [B, d]."""
        return F.normalize(super().forward(state), dim=1)


class AttentionAugmenter(nn.Module):
    """Attention among the states of a batch, unscaled, then GELU; the result has length one."""

    def __init__(self, embedding_size: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(embedding_size, embedding_size) for _ in range(3))

    def forward(self, state: Tensor) -> Tensor:
        """[B, d] -> [B, d]."""
        seen = (self.query(state) @ self.key(state).T).softmax(1) @ self.value(state)
        return F.normalize(F.gelu(seen), dim=1)


def augmenter_of(config: MCLRec.Config) -> nn.Module:
    """The augmenter that a configuration describes."""
    if config.augmenter == "attention":
        return AttentionAugmenter(config.embedding_size)
    return MLPAugmenter((config.embedding_size, *config.augmenter_sizes, config.embedding_size))
