"""LightGCN: propagation over the user-item graph and nothing else (He et al., SIGIR 2020).

Deviations: one pass over the pairs in random order, where the authors draw users uniformly (`uniform_users: true`).
"""

from dataclasses import dataclass

from torch import Tensor

from graphcl.encoders.light import light
from graphcl.ranges import Whole
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender


class LightGCN(GraphRecommender):
    """The mean of the embedding and its propagations."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """Keys of LightGCN."""

        n_layers: Whole = 3
        """Steps of propagation."""

    config: Config

    def embed(self) -> Tensor:
        """[U + I, d]"""
        return light(self.adjacency, self.embedding, self.config.n_layers)

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """BPR and the norm penalty."""
        return self.ranking(batch, self.embed())
