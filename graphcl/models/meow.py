"""MEOW: heterogeneous graph contrastive learning with meta-path contexts and weighted negatives (Yu & Li, SDM 2023).

Deviations from the authors' code: `embed` reads the vectors without dropout, where theirs are those of the last
training pass; the masked view has dropout on every data set, where theirs has none on DBLP; k-means has one start,
where theirs has five.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphcl.cluster import Clusters, concentrations, kmeans
from graphcl.encoders.heads import UnitHead
from graphcl.errors import InputError
from graphcl.models.base import NodeBatch
from graphcl.models.metapath import MetaPathEmbedder
from graphcl.objectives import ProtoNCE, WeightedInfoNCE, dot
from graphcl.ranges import Count, Weight


class MEOW(MetaPathEmbedder):
    """The coarse view of a node finds its fine view; negatives weigh by how often a clustering tells them apart.

        w_ij = M - sum_m [c_m(i) = c_m(j)],   L = -log(e^(u_i.v_i/t) / sum_j w_ij e^(u_i.v_j/t)) + lambda L_proto

    with projected unit rows u (coarse) and v (fine), M clusterings of v, and ProtoNCE of u over their centroids.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MetaPathEmbedder.Config):
        """Sizes as the authors have them for ACM. Their temperature there (0.4), shares of masked features and edges
        (0.3, 0.3 and 0.2) and all nodes in one batch are set in our configurations of it, not here.
        """

        n_clusters: tuple[Count, ...] = (100, 300)
        """Clusters of each clustering."""
        proto_weight: Weight = 1.0
        """Coefficient of the prototype loss."""
        max_iter: Count = 20
        """Rounds of k-means in each epoch."""
        warm_start: bool = False
        """Whether k-means starts where the last epoch ended. Cheaper, but at first half the clusters stay empty."""
        smoothing: Weight = 5.0
        """Added to the size of a cluster in the logarithm of its concentration."""

    suggested: ClassVar[dict[str, Any]] = {"learning_rate": 7e-4, "epochs": 300, "patience": 30}

    def __init__(self, data: HeteroData, config: Config) -> None:
        super().__init__(data, config)
        if not config.n_clusters:
            raise InputError("n_clusters: name the number of clusters of at least one clustering, such as [100, 300].")
        self.project = UnitHead(config.embedding_size)
        self.info = WeightedInfoNCE(config.temperature, similarity=dot)
        self.proto = ProtoNCE(balanced=True, similarity=dot)
        # Buffers, so that a resumed training starts its k-means where the last epoch ended; NaN before the first.
        for number, n_clusters in enumerate(config.n_clusters if config.warm_start else ()):
            unknown = torch.full((min(n_clusters, self.inputs.num_nodes), config.embedding_size), torch.nan)
            self.register_buffer(f"centroids_{number}", unknown)

    def forward(self, batch: NodeBatch, phase: str) -> dict[str, Tensor]:
        """`info`: coarse against fine; `proto`: coarse against the prototypes of fine."""
        views = self.views(batch)
        u, v = self.project(views.coarse), self.project(views.fine)
        return self.contrast(u, v, self.cluster(v.detach()))

    def contrast(self, u: Tensor, v: Tensor, clusterings: list[Clusters]) -> dict[str, Tensor]:
        """The two terms, given clusterings of `v`."""
        info = self.info(u, v, torch.stack([found.assignment for found in clusterings]))
        proto = torch.stack([self.prototype_loss(u, v.detach(), found) for found in clusterings]).mean()
        return {"info": info, "proto": self.config.proto_weight * proto}

    def prototype_loss(self, u: Tensor, v: Tensor, found: Clusters) -> Tensor:
        """ProtoNCE of u against the unit centroids; concentrations from inner products, as published."""
        likeness = (v * found.centroids[found.assignment]).sum(1)
        phi = concentrations(
            likeness,
            found.assignment,
            len(found.centroids),
            temperature=self.config.temperature,
            smoothing=self.config.smoothing,
        )
        prototypes = torch.nn.functional.normalize(found.centroids, dim=1)
        return self.proto(u, prototypes, found.assignment, phi)

    def cluster(self, v: Tensor) -> list[Clusters]:
        """M clusterings of the fine view [B, d]; never more clusters than nodes."""
        found = []
        for number, n_clusters in enumerate(self.config.n_clusters):
            last = self.get_buffer(f"centroids_{number}") if self.config.warm_start else None
            if last is not None and len(last) > len(v):
                last = None  # a batch of fewer nodes than clusters goes its own way
            clusters = kmeans(
                v,
                min(n_clusters, len(v)),
                generator=self.generator,
                init=None if last is None or last.isnan().any() else last,
                max_iter=self.config.max_iter,
                metric="inner",
            )
            if last is not None:
                last.copy_(clusters.centroids)
            found.append(clusters)
        return found
