"""DCCF: disentangled contrastive collaborative filtering (Ren et al., SIGIR 2023).

Where paper and official code differ, this follows the code, to its last digit (`tests/golden/dccf.npz`): contrasts are
among the distinct users and the distinct positive items of a batch, over the layers 0..L-1; the norm penalty is on the
batch's rows, with multiplicity.

Deviations: `reg_weight` is the library's (half the squares over the batch size; the authors' 2.5e-5 is twice the batch
size times 2.5e-5 here, 0.5 in their batches of 10,240, and the default far below it); batches of 2,048 unless the
configuration says otherwise, so that contrasts have fewer negatives; one pass over the pairs, where theirs draws users
uniformly (`uniform_users: true`) and ends an epoch after 40 batches; first embeddings with one standard deviation for
all, near that of the authors' Xavier start (0.006 on their data).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from graphcl.encoders.intents import intent_mixture
from graphcl.objectives.fused import paired_nce
from graphcl.ops import spmm
from graphcl.ranges import Count, Positive, Weight
from graphcl.views.masks import cosine_propagation
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender

Signal = Literal["intent", "local", "disentangled"]
Layer = tuple[Tensor, dict[Signal, Tensor]]
"""The graph's signal of a layer, and the others by name; all tables are [U + I, d]."""


class DCCF(GraphRecommender):
    """Four signals meet in every layer; that of the graph is contrasted with the other three, on both sides."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """Keys of DCCF."""

        embedding_size: Count = 32
        """Width of the vectors."""
        init_std: Weight = 0.01
        """Standard deviation of the first embeddings; 0 takes Xavier's uniform distribution. Five signals add up in
        every layer and all layers add up again: the vectors leave up to 31 times longer than they came (at the start,
        on Yelp and Last.fm, 7 to 8 times), and from a start of 0.1 the scores saturate."""
        n_layers: Count = 2
        """Layers."""
        n_intents: Count = 128
        """Latent intents of users, and as many of items."""
        intent_reg_weight: Weight = 5e-3
        """Weight of the squared norm of all intents."""
        cl_weight: Weight = 0.1
        """Weight of the contrasts, which are summed over layers, sides and signals."""
        temperature: Positive = 1.0
        """Temperature of the contrasts."""
        signals: tuple[Signal, ...] = ("intent", "local", "disentangled")
        """What meets the graph's own signal in every layer: the node as a mixture of latent intents, and messages over
        edges weighed by how alike their ends are in the graph's signal (local) or in their intents (disentangled)."""

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        shape = config.embedding_size, config.n_intents
        self.user_intent = nn.Parameter(nn.init.xavier_normal_(torch.empty(shape)))
        self.item_intent = nn.Parameter(nn.init.xavier_normal_(torch.empty(shape)))

    def layer(self, x: Tensor) -> Layer:
        """What a layer makes of its input [U + I, d]."""
        graph = spmm(self.adjacency, x)
        wanted = self.config.signals
        others: dict[Signal, Tensor] = {}
        if "intent" in wanted or "disentangled" in wanted:
            user, item = self.halves(x)
            intent = torch.cat([intent_mixture(user, self.user_intent), intent_mixture(item, self.item_intent)])
        if "intent" in wanted:
            others["intent"] = intent
        if "local" in wanted:
            others["local"] = cosine_propagation(self.adjacency, graph, x)
        if "disentangled" in wanted:
            others["disentangled"] = cosine_propagation(self.adjacency, intent, x)
        return graph, others

    def layerwise(self) -> tuple[list[Tensor], list[Layer]]:
        """The input of every layer and the last output, and the signals of every layer."""
        inputs: list[Tensor] = [self.embedding]
        signals: list[Layer] = []
        for _ in range(self.config.n_layers):
            graph, others = self.layer(inputs[-1])
            signals.append((graph, others))
            inputs.append(graph + sum(others.values()) + inputs[-1])
        return inputs, signals

    def embed(self) -> Tensor:
        """[U + I, d], the sum over layers."""
        return sum(self.layerwise()[0][1:], start=self.embedding)

    def contrasts(self, batch: Triples, signals: list[Layer]) -> list[Tensor]:
        """The graph's signal against every other, by layer, side (users, positive items) and signal."""
        return [
            paired_nce(
                anchor, other.index_select(0, rows), self.config.temperature, epsilon=1e-8, probability_floor=1e-8
            )
            for graph, others in signals
            for rows in self.nodes(batch)
            for anchor in [graph.index_select(0, rows)]
            for other in others.values()
        ]

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """BPR, the norm penalties, and the contrasts."""
        inputs, signals = self.layerwise()
        terms = self.ranking(batch, sum(inputs[1:], start=inputs[0]))
        intents = self.user_intent.square().sum() + self.item_intent.square().sum()
        terms["intent_reg"] = self.config.intent_reg_weight * intents
        if self.config.cl_weight and self.config.signals:
            terms["contrast"] = self.config.cl_weight * torch.stack(self.contrasts(batch, signals)).sum()
        return terms
