"""SASRec: self-attentive sequential recommendation (Kang and McAuley, ICDM 2018).

Deviations, all of them RecBole's: norms stand behind each part of a layer, padding is to the right, the default loss
is the full softmax over every beginning of a history. The authors' own training (binary cross-entropy with one
negative, a loss at every position) is `loss: bce`, `samples: user`, `positions: newest`. RecBole's softmax has the
padding row as one more class; this one is over the items.
"""

from dataclasses import dataclass
from typing import Literal

from recsys.models.sequence import NextItemRecommender


class SASRec(NextItemRecommender):
    """A causal transformer over the latest items."""

    @dataclass(frozen=True, kw_only=True)
    class Config(NextItemRecommender.Config):
        """Those of the backbone."""

        encoder: Literal["transformer"] = "transformer"
        """Self-attention."""
