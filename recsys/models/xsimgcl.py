"""XSimGCL: towards extremely simple graph contrastive learning (Yu et al., TKDE 2023).

Deviations from the authors' code: the penalty is half the squares of the table's rows, not a norm of the noisy vectors,
and the table starts normal, not by Xavier's rule. As there, the mean over layers leaves the embedding itself out, and
the negatives of a node are the distinct users (or items) of the batch.
"""

from dataclasses import dataclass

from torch import Tensor

from graphcl.encoders.light import layers, mean
from graphcl.errors import InputError
from graphcl.objectives import InfoNCE
from graphcl.ranges import Count, Positive, Weight
from graphcl.views.noise import signed_noise
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender


class XSimGCL(GraphRecommender):
    """One noisy propagation serves both tasks: it is ranked with, and contrasted with one of its own layers."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """Keys of XSimGCL."""

        n_layers: Count = 2
        """Steps of propagation."""
        noise: Weight = 0.2
        """Length of the noise that every layer adds to every vector in training."""
        cl_layer: Count = 1
        """The layer that is contrasted with the mean of all."""
        cl_weight: Weight = 0.2
        """Weight of the contrast."""
        temperature: Positive = 0.15
        """Temperature of the contrast."""

        def __post_init__(self) -> None:
            if self.cl_layer > self.n_layers:
                raise InputError(f"cl_layer: must be one of the {self.n_layers} layers, got {self.cl_layer}")

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.objective = InfoNCE(config.temperature)

    def embed(self) -> Tensor:
        """[U + I, d], without noise."""
        return mean(layers(self.adjacency, self.embedding, self.config.n_layers)[1:])

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """BPR and the norm penalty on the noisy vectors, and their contrast with one layer."""

        def view(x: Tensor) -> Tensor:
            return signed_noise(x, self.config.noise, self.generator)

        noisy = layers(self.adjacency, self.embedding, self.config.n_layers, view=view)
        final = mean(noisy[1:])
        terms = self.ranking(batch, final)
        if self.config.cl_weight:
            contrast = self.contrast(self.objective, batch, final, noisy[self.config.cl_layer])
            terms["contrast"] = self.config.cl_weight * contrast
        return terms
