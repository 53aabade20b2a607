"""SGL: self-supervised graph learning for recommendation (Wu et al., SIGIR 2021).

Deviations: the anchors are the distinct users (or items) of the batch, and the negatives of each the others of them, as
in most later work; the authors keep duplicates and take all users (or items) as negatives. Node drop takes its share of
users and items together, theirs of each side. The table starts normal, not by Xavier's rule (`init_std: 0`).
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from graphcl.encoders.light import light
from graphcl.objectives import InfoNCE
from graphcl.ops import SparseMatrix
from graphcl.ranges import Count, Positive, Rate, Weight
from graphcl.training.learner import Sampler
from graphcl.views.random import RandomView
from graphcl.views.structure import EdgeDrop, NodeDrop
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender, bipartite_adjacency


class SGL(GraphRecommender):
    """LightGCN, and two damaged copies of the graph that must agree on every node; copies are redrawn each epoch."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """Keys of SGL."""

        n_layers: Count = 3
        """Steps of propagation."""
        view: Literal["edge_drop", "node_drop", "random_walk"] = "edge_drop"
        """What a copy loses: edges (ED), nodes (ND), or other edges in every layer (RW)."""
        drop_ratio: Rate = 0.1
        """The share that is lost."""
        cl_weight: Weight = 0.1
        """Weight of the contrast between the copies."""
        temperature: Positive = 0.2
        """Temperature of the contrast."""

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.objective = InfoNCE(config.temperature)
        self.views = [[self.adjacency] * config.n_layers] * 2
        """Two views, each a matrix for every layer; the whole graph until the first epoch begins."""

    def begin_epoch(self, sampler: Sampler) -> None:
        """Draw both views."""
        self.views = [self._draw(), self._draw()]

    def _draw(self) -> list[SparseMatrix]:
        kind = NodeDrop if self.config.view == "node_drop" else EdgeDrop
        view = kind(self.config.drop_ratio, generator=self.generator)
        if self.config.view == "random_walk":
            return [self._matrix(view) for _ in range(self.config.n_layers)]
        return [self._matrix(view)] * self.config.n_layers

    def _matrix(self, view: RandomView) -> SparseMatrix:
        return bipartite_adjacency(view(self._train.graph)).to(self.device)

    def embed(self) -> Tensor:
        """[U + I, d]"""
        return light(self.adjacency, self.embedding, self.config.n_layers)

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """BPR, the norm penalty, and the contrast of the views."""
        terms = self.ranking(batch, self.embed())
        if self.config.cl_weight:
            first, second = (light(view, self.embedding, self.config.n_layers) for view in self.views)
            terms["contrast"] = self.config.cl_weight * self.contrast(self.objective, batch, first, second)
        return terms
