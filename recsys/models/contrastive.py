"""One encoder, any objective: what the contrast itself brings, everything else being equal.

The encoder (whose mean leaves layer 0 out) and the views are SimGCL's (two noisy propagations); the objective is named
in the configuration. It is no published method. Objectives that know of clusters cluster users and items anew before
every epoch.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from graphcl.encoders.light import layers, mean, perturbed
from graphcl.ranges import Count, Weight
from graphcl.training.learner import Sampler
from graphcl.views.noise import signed_noise
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender
from recsys.models.objective import CLUSTERED, Clustering, Objective, ObjectiveKeys

Name = Literal[
    "infonce",
    "ntxent",
    "dcl",
    "dclw",
    "debiased",
    "hard_negatives",
    "weighted",
    "adaptive",
    "prototypes",
    "clusters",
    "momentum",
    "margin",
    "alignment_uniformity",
    "barlow_twins",
    "vicreg",
    "jsd",
    "sigmoid",
    "circle",
    "alignment_tempered",
    "attraction_repulsion",
    "group_ordering",
]


class Contrastive(GraphRecommender):
    """LightGCN, and two noisy propagations that an objective compares."""

    @dataclass(frozen=True, kw_only=True)
    class Config(ObjectiveKeys, GraphRecommender.Config):
        """Keys of the encoder and of the objective."""

        n_layers: Count = 2
        """Steps of propagation."""
        noise: Weight = 0.1
        """Length of the noise that every layer adds to every vector."""
        objective: Name = "infonce"
        """What compares the views. weighted: negatives weigh by clusters (MEOW); adaptive: by a network (AdaMEOW);
        prototypes: rows against their clusters' centres (PCL); clusters: rows of one cluster are positives (SupCon);
        momentum: negatives are a queue (MoCo, without its slow encoder); margin: ntxent and MCLRec's regulariser;
        sigmoid: each pair by itself (SigLIP); alignment_tempered: MACL; attraction_repulsion: CACR; group_ordering:
        GroCo."""
        cl_weight: Weight = 0.01
        """Weight of the objective."""

        def idle(self) -> dict[str, str]:
            """Those of other objectives."""
            return super().idle() | self.unread(self.objective, get_args(Name))

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.objectives = nn.ModuleList(Objective(config.objective, config, config.embedding_size) for _ in range(2))
        """Of users and of items."""
        self.clusters: list[Clustering] = []
        """Of users and of items, where the objective knows of clusters."""

    def begin_epoch(self, sampler: Sampler) -> None:
        """Cluster both sides where the objective needs it."""
        if self.config.objective in CLUSTERED:
            sides = self.halves(self.embed())
            self.clusters = [Clustering.of(side, self.config, self.generator) for side in sides]

    def embed(self) -> Tensor:
        """[U + I, d]"""
        return mean(layers(self.adjacency, self.embedding, self.config.n_layers)[1:])

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """BPR, the norm penalty, and the objective on the batch's distinct users plus on its distinct items."""

        def view(x: Tensor) -> Tensor:
            return signed_noise(x, self.config.noise, self.generator)

        clean = layers(self.adjacency, self.embedding, self.config.n_layers)
        terms = self.ranking(batch, mean(clean[1:]))
        if self.config.cl_weight:
            nodes = (batch.user.unique(), batch.positive.unique())
            first, second = (self.halves(mean(perturbed(self.adjacency, clean, view)[1:])) for _ in range(2))
            sides = [
                objective(
                    first[side].index_select(0, rows),
                    second[side].index_select(0, rows),
                    rows,
                    clusters=self.clusters[side] if self.clusters else None,
                )
                for side, (objective, rows) in enumerate(zip(self.objectives, nodes, strict=True))
            ]
            terms["contrast"] = self.config.cl_weight * torch.stack(sides).sum()
        return terms
