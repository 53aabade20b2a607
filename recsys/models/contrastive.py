"""One encoder, any objective: what the contrast itself brings, everything else being equal.

The encoder (whose mean leaves layer 0 out) and the views are SimGCL's (two noisy propagations); the objective is named
in the configuration. It is no published method. Objectives that know of clusters cluster users and items anew before
every epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphcl.cluster import assign, concentrations, kmeans
from graphcl.encoders.light import layers, mean, perturbed
from graphcl.objectives import (
    DCL,
    DCLW,
    AdaptiveInfoNCE,
    DebiasedInfoNCE,
    HardNegativeInfoNCE,
    InfoNCE,
    MomentumInfoNCE,
    NegativeQueue,
    NTXent,
    PairMLP,
    ProtoNCE,
    SupCon,
    WeightedInfoNCE,
    across_and_within,
    alignment,
    barlow_twins,
    cosine,
    jsd,
    margin_regulariser,
    uniformity,
    vicreg,
)
from graphcl.ranges import Count, Positive, Weight
from graphcl.training.learner import Sampler
from graphcl.views.noise import signed_noise
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender

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
]

CLUSTERED = ("weighted", "prototypes", "clusters")
PLAIN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "alignment_uniformity": lambda a, b: alignment(a, b) + (uniformity(a) + uniformity(b)) / 2,
    "barlow_twins": barlow_twins,
    "vicreg": vicreg,
    "jsd": lambda a, b: jsd(a, b, similarity=cosine),
}
"""Those that are functions of two views and have no temperature."""


class Clustering(NamedTuple):
    """Clusters of one side."""

    assignment: Tensor
    """[n] the cluster of each row."""
    centroids: Tensor
    """[K, d]"""
    concentration: Tensor
    """[K] a temperature for each cluster."""


class Contrastive(GraphRecommender):
    """LightGCN, and two noisy propagations that an objective compares."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """Keys of the encoder and of the objective."""

        n_layers: Count = 2
        """Steps of propagation."""
        noise: Weight = 0.1
        """Length of the noise that every layer adds to every vector."""
        objective: Name = "infonce"
        """What compares the views. weighted: negatives weigh by clusters (MEOW); adaptive: by a network (AdaMEOW);
        prototypes: rows against their clusters' centres (PCL); clusters: rows of one cluster are positives (SupCon);
        momentum: negatives are a queue (MoCo, without its slow encoder); margin: ntxent and MCLRec's regulariser."""
        cl_weight: Weight = 0.01
        """Weight of the objective."""
        temperature: Positive = 0.2
        """Temperature, where the objective has one."""
        n_clusters: Count = 100
        """Clusters of users, and of items, where the objective knows of any; never more than there are of either."""
        queue_size: Count = 8192
        """Rows of each queue of the objective momentum."""
        margin_weight: Weight = 0.1
        """Weight of the regulariser in the objective margin."""

        def idle(self) -> dict[str, str]:
            """Those of other objectives."""
            of_some = {"n_clusters": CLUSTERED, "queue_size": ("momentum",), "margin_weight": ("margin",)}
            others = {key: some for key, some in of_some.items() if self.objective not in some}
            reasons = {key: f"only the objectives {', '.join(some)} read it" for key, some in others.items()}
            return super().idle() | reasons

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self.losses = nn.ModuleList(loss_of(config) for _ in range(2))
        """Of users and of items."""
        queued = config.objective == "momentum"
        self.queues = nn.ModuleList(NegativeQueue(config.queue_size, config.embedding_size) for _ in range(2 * queued))
        self.clusters: list[Clustering] = []
        """Of users and of items, where the objective knows of clusters."""

    def begin_epoch(self, sampler: Sampler) -> None:
        """Cluster both sides where the objective needs it."""
        if self.config.objective in CLUSTERED:
            self.clusters = [self._cluster(F.normalize(side)) for side in self.halves(self.embed())]

    def _cluster(self, points: Tensor) -> Clustering:
        count = min(self.config.n_clusters, len(points))
        centroids = kmeans(points, count, generator=self.generator).centroids
        assignment, distance = assign(points, centroids)
        spread = concentrations(distance, assignment, count, temperature=self.config.temperature)
        return Clustering(assignment, centroids, spread)

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
                self._compare(side, rows, first[side].index_select(0, rows), second[side].index_select(0, rows))
                for side, rows in enumerate(nodes)
            ]
            terms["contrast"] = self.config.cl_weight * torch.stack(sides).sum()
        return terms

    def _compare(self, side: int, rows: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """The objective on rows [n] of one side, views [n, d]; 0 where a batch has one row, which has no negative."""
        if len(rows) < 2:
            return a.new_zeros(())
        name, loss = self.config.objective, self.losses[side]
        if name in CLUSTERED:
            return self._with_clusters(loss, self.clusters[side], rows, a, b)
        if name == "momentum":
            queue = self.queues[side]
            assert isinstance(queue, NegativeQueue)
            queue.push(b, rows)
            return loss(a, b, group=rows, negatives=queue.rows, negative_group=queue.ids)
        if name == "margin":
            regulariser = margin_regulariser(a, b, temperature=self.config.temperature, similarity=cosine)
            return loss(a, b) + self.config.margin_weight * regulariser
        return PLAIN[name](a, b) if name in PLAIN else loss(a, b)

    def _with_clusters(self, loss: nn.Module, found: Clustering, rows: Tensor, a: Tensor, b: Tensor) -> Tensor:
        own = found.assignment[rows]
        if self.config.objective == "weighted":
            return loss(a, b, own.unsqueeze(0))
        if self.config.objective == "clusters":
            return loss(a, own, b)
        first, second = (loss(view, found.centroids, own, found.concentration) for view in (a, b))
        return (first + second) / 2


def loss_of(config: Contrastive.Config) -> nn.Module:
    """The objective of one side, as far as it is a module."""
    kinds: dict[str, Callable[[float], Any]] = {
        "infonce": InfoNCE,
        "ntxent": NTXent,
        "margin": NTXent,
        "dcl": DCL,
        "dclw": DCLW,
        "debiased": DebiasedInfoNCE,
        "hard_negatives": HardNegativeInfoNCE,
        "weighted": WeightedInfoNCE,
        "momentum": MomentumInfoNCE,
        "clusters": lambda temperature: SupCon(temperature, pairing=across_and_within),
        "prototypes": lambda temperature: ProtoNCE(),
        "adaptive": lambda temperature: AdaptiveInfoNCE(PairMLP(config.embedding_size, 16), temperature),
    }
    loss: nn.Module = kinds.get(config.objective, lambda temperature: nn.Identity())(config.temperature)
    return loss
