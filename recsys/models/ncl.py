"""NCL: graph collaborative filtering with neighbourhood-enriched contrastive learning (Lin et al., WWW 2022).

Deviations: contrasts are means over the distinct users and items of a batch, where the authors sum over its rows, so
that `cl_weight` and `prototype_weight` are about the batch size times theirs; k-means starts warm from the last epoch;
`item_weight` counts for the prototypes, too; the penalty is half the squared norm of the batch's rows, where theirs is
RecBole's norm; the table starts normal, not by Xavier's rule (`init_std: 0`).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from graphcl.cluster import kmeans
from graphcl.encoders.light import layers, mean
from graphcl.errors import InputError
from graphcl.objectives.fused import paired_nce
from graphcl.ranges import Count, Positive, Weight, Whole
from graphcl.training.learner import Sampler
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender


class NCL(GraphRecommender):
    """A node is contrasted with what its even neighbourhood says of it, and with the prototype of its cluster."""

    user_centroids: Tensor
    """[K, d] of the last clustering."""
    item_centroids: Tensor
    """[K, d] likewise."""
    epoch: Tensor
    """[] epochs begun."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """Keys of NCL."""

        n_layers: Count = 3
        """Steps of propagation."""
        cl_layer: Count = 2
        """The even layer that is contrasted with the embedding."""
        cl_weight: Weight = 1e-3
        """Weight of the contrast with neighbours; our tables for MovieLens-1M and Yelp use a tenth of the default."""
        item_weight: Weight = 1.0
        """How much the items' side of both contrasts counts, beside the users'."""
        prototype_weight: Weight = 1e-3
        """Weight of the contrast with prototypes; likewise."""
        n_clusters: Count = 1000
        """Prototypes of users, and of items; never more than there are of either."""
        warmup_epochs: Whole = 20
        """Epochs without prototypes."""
        temperature: Positive = 0.2
        """Temperature of both contrasts; the authors search 0.05 to 0.1, with far smaller weights."""

        def __post_init__(self) -> None:
            if self.cl_layer % 2 or self.cl_layer > self.n_layers:
                raise InputError(f"cl_layer: must be even and at most n_layers = {self.n_layers}, got {self.cl_layer}")

    usual_search: ClassVar[dict[str, Any]] = {"n_layers": [2, 3, 4]}

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        # Centroids are the warm start of the next epoch: a resumed training needs them.
        for name, count in (("user_centroids", self.num_users), ("item_centroids", self.num_items)):
            self.register_buffer(name, torch.zeros(min(config.n_clusters, count), config.embedding_size))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.long))
        self.clusters: list[Tensor] = []
        """Cluster of every user, and of every item; empty during the warm-up."""

    def begin_epoch(self, sampler: Sampler) -> None:
        """Cluster both sides, once warm."""
        begun = int(self.epoch)
        self.epoch += 1
        self.clusters = []
        if begun < self.config.warmup_epochs or not self.config.prototype_weight:
            return
        for side, centroids in zip(
            self.halves(self.embedding), (self.user_centroids, self.item_centroids), strict=True
        ):
            start = None if begun == self.config.warmup_epochs else centroids
            found = kmeans(side.detach(), len(centroids), generator=self.generator, init=start)
            centroids.copy_(found.centroids)
            self.clusters.append(found.assignment)

    def _layers(self) -> list[Tensor]:
        return layers(self.adjacency, self.embedding, self.config.n_layers)

    def embed(self) -> Tensor:
        """[U + I, d]"""
        return mean(self._layers())

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """BPR, the norm penalty, and both contrasts."""
        found = self._layers()
        terms = self.ranking(batch, mean(found))
        weights, nodes = (1.0, self.config.item_weight), (batch.user.unique(), batch.positive.unique())
        first, later = self.halves(found[0]), self.halves(found[self.config.cl_layer])
        if self.config.cl_weight:
            neighbours = [
                weight * self._compare(there, rows, here, rows)
                for weight, rows, here, there in zip(weights, nodes, first, later, strict=True)
            ]
            terms["contrast"] = self.config.cl_weight * torch.stack(neighbours).sum()
        if self.config.prototype_weight:
            terms["prototypes"] = self.embedding.new_zeros(())
        if self.clusters:
            centroids = self.user_centroids, self.item_centroids
            prototypes = [
                weight * self._compare(here, rows, centres, own.index_select(0, rows))
                for weight, rows, here, centres, own in zip(
                    weights, nodes, first, centroids, self.clusters, strict=True
                )
            ]
            terms["prototypes"] = self.config.prototype_weight * torch.stack(prototypes).sum()
        return terms

    def _compare(self, table: Tensor, rows: Tensor, candidates: Tensor, positives: Tensor) -> Tensor:
        """InfoNCE of some rows of a table with one candidate each."""
        return paired_nce(table.index_select(0, rows), candidates, self.config.temperature, positives=positives)
