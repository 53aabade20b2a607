"""What recommenders that read histories have in common."""

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphcl.errors import InputError
from graphcl.objectives.kernel import row_lse
from graphcl.ranges import Count, Dropout, Positive
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.encoders import GRUEncoder, SequenceEncoder, TransformerEncoder
from recsys.models.base import Index, Recommender
from recsys.models.losses import bce, bpr
from recsys.sequences.sampler import PrefixSampler, Sequences, UserSampler

ONLY = {"gru": ("hidden_size", "gru_start"), "transformer": ("n_heads", "inner_size", "attention_dropout", "positions")}
"""Keys that one encoder reads and the other does not."""


class SequenceRecommender(Recommender):
    """A state per history, an embedding per item, and their inner product.

    The table of items has two rows more than there are items: `num_items` is padding, `num_items + 1` a mask.
    """

    task = "sequential"
    special_classes: ClassVar[int] = 0
    """How many of those two rows are classes of the full softmax, never right ones, as in some authors' code."""
    cosine_scores: ClassVar[bool] = False
    """Whether an item counts by its direction alone."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Recommender.Config):
        """The encoder, its size, and how the next item is learned."""

        encoder: Literal["transformer", "gru"] = "transformer"
        """What reads the history."""
        embedding_size: Count = 64
        """Size of item embeddings and states."""
        max_length: Count = 50
        """How many of the latest items are read."""
        n_layers: Count = 2
        """Layers of the encoder."""
        hidden_dropout: Dropout = 0.5
        """Share of entries dropped after the embeddings and after each part of a layer."""
        n_heads: Count = 2
        """Transformer: attention heads."""
        inner_size: Count = 256
        """Transformer: width of the feed-forward part."""
        attention_dropout: Dropout = 0.5
        """Transformer: share of attention weights dropped."""
        positions: Literal["oldest", "newest"] = "oldest"
        """Transformer: whether positions are counted from the oldest item (right padding) or the newest (left)."""
        hidden_size: Count = 128
        """GRU: width of the recurrent state."""
        gru_start: Literal["zero", "padding"] = "zero"
        """GRU: whether a row starts from nothing, or from having read padding up to `max_length` (ICSRec's authors)."""
        initializer_range: Positive = 0.02
        """Standard deviation of the initial embeddings, and of the linear maps of a transformer."""
        loss: Literal["softmax", "bce", "bpr"] = "softmax"
        """How the next item is learned: against all items, or against sampled ones."""
        n_negatives: Count = 1
        """Sampled items per target; only for the losses bce and bpr."""

        def idle(self) -> dict[str, str]:
            """Those of the other encoder, and negatives beside a full softmax."""
            other = "gru" if self.encoder == "transformer" else "transformer"
            found = dict.fromkeys(ONLY[other], f"only encoder: {other} has it, this is {self.encoder}")
            if self.encoder == "transformer":
                found["hidden_size"] += "; the width of a transformer is embedding_size"
            if self.loss == "softmax":
                found["n_negatives"] = "loss: softmax compares with all items; bce and bpr draw negatives"
            return found

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.config: SequenceRecommender.Config = config
        self.histories = train.histories
        # Reading padding teaches it nothing, as in every author's code; as a class of a softmax it does learn.
        self.items = nn.Embedding(train.num_items + 2, config.embedding_size, padding_idx=train.num_items)
        self.encoder = encoder_of(config)
        self.start_weights()

    def start_weights(self) -> None:
        """Draw the initial weights: normal for embeddings and the transformer, those of torch for a GRU."""
        spread = self.config.initializer_range
        nn.init.normal_(self.items.weight, std=spread)
        if isinstance(self.encoder, TransformerEncoder):
            for module in self.encoder.modules():
                if isinstance(module, nn.Linear | nn.Embedding):
                    nn.init.normal_(module.weight, std=spread)
                if isinstance(module, nn.Linear):
                    nn.init.zeros_(module.bias)

    @property
    def padding_id(self) -> int:
        """The id of padding."""
        return self.num_items

    @property
    def mask_id(self) -> int:
        """The id of a masked item."""
        return self.num_items + 1

    @property
    def negatives(self) -> int:
        """How many negatives a sampler draws for each target."""
        return 0 if self.config.loss == "softmax" else self.config.n_negatives

    def encode(self, history: Ragged, hidden: Tensor | None = None) -> Tensor:
        """Rows of items -> [B, d] the state after the last item of each; `hidden` [n] marks items not to be seen."""
        return self.encoder(self.items(history.values), history.offsets, hidden, **self.start_of_rows())

    def encode_every(self, history: Ragged) -> Tensor:
        """Rows of items -> [n, d] the state after each item."""
        return self.encoder.every(self.items(history.values), history.offsets, **self.start_of_rows())

    def start_of_rows(self) -> dict[str, Tensor]:
        """What a GRU reads before each row, if anything; it learns nothing from it, as with a padding index."""
        if isinstance(self.encoder, GRUEncoder) and self.config.gru_start == "padding":
            return {"start": self.items.weight[self.padding_id].detach()}
        return {}

    def next_item(self, state: Tensor, target: Tensor, negative: Tensor) -> Tensor:
        """How badly the states [m, d] tell the next items [m] from the others, or from the negatives [m, k].

        softmax: mean over rows of the cross-entropy over all items; bce, bpr: see `recsys.models.losses`.
        """
        if self.config.loss == "softmax":
            classes = self.items.weight[: self.num_items + self.special_classes]
            return (row_lse(state, classes) - (state * classes[target]).sum(1)).mean()
        right = (state * self.items(target)).sum(-1)
        wrong = (self.items(negative) @ state.unsqueeze(-1)).squeeze(-1)
        return bpr(right, wrong) if self.config.loss == "bpr" else bce(right, wrong)

    def index(self) -> Index:
        """Items as they are, and states by a copy of the encoder."""
        items = self.items.weight.detach().clone()
        offered = F.normalize(items[: self.num_items]) if self.cosine_scores else items[: self.num_items]
        encoder = deepcopy(self.encoder).eval()
        start = {name: value.clone() for name, value in self.start_of_rows().items()}

        @torch.no_grad()
        def query(user: Tensor, history: Ragged) -> Tensor:
            """The state after each history; an empty one is read as a single padding item."""
            refuse_unknown_items(history, self.num_items)
            recent = first_or(self.padding_id, history.last(self.config.max_length))
            return encoder(items[recent.values], recent.offsets, **start)

        return Index(offered, query, self.config.max_length)


class PlainSamples(SequenceRecommender):
    """Its samples are histories and what came next, with nothing drawn beside them but negatives."""

    @dataclass(frozen=True, kw_only=True)
    class Config(SequenceRecommender.Config):
        """Those of the backbone, and what a sample is."""

        samples: Literal["prefix", "user"] = "prefix"
        """Whether each beginning of a history is a sample, or each user with a loss at every position (faster)."""

    config: Config

    def sampler(self) -> PrefixSampler | UserSampler:
        """Samples as `samples` says."""
        kind = PrefixSampler if self.config.samples == "prefix" else UserSampler
        return kind(self.histories, self.num_items, self.config.max_length, negatives=self.negatives)

    def states(self, batch: Sequences) -> Tensor:
        """[m, d] the state before each of the m targets."""
        return self.encode(batch.history) if self.config.samples == "prefix" else self.encode_every(batch.history)


class NextItemRecommender(PlainSamples):
    """Learns to say what comes next, and nothing else."""

    def forward(self, batch: Sequences, phase: str) -> dict[str, Tensor]:
        """`next_item`, a mean over targets."""
        return {"next_item": self.next_item(self.states(batch), batch.target, batch.negative)}


def encoder_of(config: SequenceRecommender.Config) -> SequenceEncoder:
    """The encoder that a configuration describes."""
    if config.encoder == "gru":
        return GRUEncoder(
            config.embedding_size,
            n_layers=config.n_layers,
            hidden_size=config.hidden_size,
            max_length=config.max_length,
            hidden_dropout=config.hidden_dropout,
        )
    return TransformerEncoder(
        config.embedding_size,
        n_layers=config.n_layers,
        n_heads=config.n_heads,
        inner_size=config.inner_size,
        max_length=config.max_length,
        hidden_dropout=config.hidden_dropout,
        attention_dropout=config.attention_dropout,
        positions=config.positions,
    )


def first_or(value: int, rows: Ragged) -> Ragged:
    """The same rows, an empty one replaced by a row of `value` alone."""
    empty = rows.lengths == 0
    if not bool(empty.any()):
        return rows
    lengths = rows.lengths + empty
    offsets = F.pad(lengths.cumsum(0), (1, 0))
    filled = rows.values.new_full((int(offsets[-1]),), value)
    keep = torch.repeat_interleave(~empty, lengths)
    filled[keep] = rows.values
    return Ragged(filled, offsets)


def refuse_unknown_items(history: Ragged, num_items: int) -> None:
    """Raise `InputError` where a history names an item that the model does not have."""
    items = history.values
    if items.numel() and not (int(items.min()) >= 0 and int(items.max()) < num_items):
        raise InputError(
            f"history: items must lie in 0..{num_items - 1}, got {int(items.min())}..{int(items.max())}; "
            f"map raw ids with the item ids that the model was trained with"
        )
