"""SimGCL: are graph augmentations necessary? (Yu et al., SIGIR 2022).

Deviations from the authors' code: the penalty is half the squares of the table's rows, not a norm of the propagated
vectors, and the table starts normal, not by Xavier's rule. As there, the mean over layers leaves the embedding itself
out, and the negatives of a node are the distinct users (or items) of the batch.
"""

from dataclasses import dataclass

from torch import Tensor

from graphcl.encoders.light import layers, mean, perturbed
from graphcl.objectives import InfoNCE
from graphcl.ranges import Count, Positive, Weight
from graphcl.views.noise import signed_noise
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender


class SimGCL(GraphRecommender):
    """LightGCN, and two propagations with noise in every layer that must agree on every node."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """Keys of SimGCL."""

        n_layers: Count = 3
        """Steps of propagation."""
        noise: Weight = 0.1
        """Length of the noise that every layer adds to every vector."""
        cl_weight: Weight = 0.5
        """Weight of the contrast between the noisy views."""
        temperature: Positive = 0.2
        """Temperature of the contrast."""

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.objective = InfoNCE(config.temperature)

    def embed(self) -> Tensor:
        """[U + I, d]"""
        return mean(layers(self.adjacency, self.embedding, self.config.n_layers)[1:])

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """BPR, the norm penalty, and the contrast of the views."""

        def view(x: Tensor) -> Tensor:
            return signed_noise(x, self.config.noise, self.generator)

        clean = layers(self.adjacency, self.embedding, self.config.n_layers)
        terms = self.ranking(batch, mean(clean[1:]))
        if self.config.cl_weight:
            first, second = (mean(perturbed(self.adjacency, clean, view)[1:]) for _ in range(2))
            terms["contrast"] = self.config.cl_weight * self.contrast(self.objective, batch, first, second)
        return terms
