"""A recommender of your own, and the command line that knows it.

python examples/own_model.py train configs/ml-100k.yaml model=layer_dcl epochs=20

Every other command knows it, too: `python examples/own_model.py config layer_dcl`, `... tune`, `... recommend RUN`.
From Python, import this file before `recsys.train` or `recsys.Run.open`.
"""

from dataclasses import dataclass

from torch import Tensor

from graphcl.encoders.light import light
from graphcl.objectives import DCL
from graphcl.ranges import Count, Positive, Weight
from recsys.__main__ import main
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models import MODELS
from recsys.models.graph import GraphRecommender


class LayerDCL(GraphRecommender):
    """LightGCN whose vectors must also agree with themselves before propagation, by the decoupled InfoNCE."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """The keys of `model` in YAML: these and those of every graph model."""

        n_layers: Count = 2
        """Steps of propagation."""
        cl_weight: Weight = 0.01
        """Weight of the contrast."""
        temperature: Positive = 0.2
        """Temperature of the contrast."""

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.objective = DCL(config.temperature)

    def embed(self) -> Tensor:
        """[U + I, d] the vectors that are compared, and by which users are recommended to."""
        return light(self.adjacency, self.embedding, self.config.n_layers)

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """The terms of the loss by name; their sum is minimised, and each is drawn in the report."""
        vectors = self.embed()
        terms = self.ranking(batch, vectors)
        contrast = self.contrast(self.objective, batch, vectors, self.embedding)
        return {**terms, "contrast": self.config.cl_weight * contrast}


MODELS["layer_dcl"] = LayerDCL

if __name__ == "__main__":
    main()
