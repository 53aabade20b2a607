"""GRU4Rec: session-based recommendation with recurrent neural networks (Hidasi et al., ICLR 2016; Tan et al., 2016).

Deviations, RecBole's: no parallel mini-batches of sessions, every beginning of a history is a sample (the data
augmentation of Tan et al.), the last state is mapped back to the size of an embedding, and the output shares the table
of item embeddings. Not RecBole's: the softmax is over the items, without the padding row; the table starts normal
(`initializer_range`) and the layers as torch's, where RecBole takes Xavier's rules.
"""

from dataclasses import dataclass
from typing import Literal

from graphcl.ranges import Count, Dropout
from recsys.models.sequence import NextItemRecommender


class GRU4Rec(NextItemRecommender):
    """Gated recurrent units over the latest items."""

    @dataclass(frozen=True, kw_only=True)
    class Config(NextItemRecommender.Config):
        """Those of the backbone, with the sizes usual for a GRU."""

        encoder: Literal["gru"] = "gru"
        """Gated recurrence."""
        n_layers: Count = 1
        """Stacked recurrent layers."""
        hidden_dropout: Dropout = 0.3
        """Share of entries dropped after the item embeddings."""
