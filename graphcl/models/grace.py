"""GRACE: deep graph contrastive representation learning (Zhu et al., GRL+ 2020)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from graphcl.encoders.gcn import GCN
from graphcl.encoders.heads import MLPHead
from graphcl.models.base import Embedder, NodeBatch, NodeSampler
from graphcl.models.plain_graph import PlainGraph
from graphcl.objectives import NTXent
from graphcl.ranges import Count, Dropout, Positive, Whole


class GRACE(Embedder):
    """Two pictures of one graph, each with edges and feature columns missing, agree on every node.

    The negatives of a node are all other nodes, in the other picture and in its own. The whole graph is one batch.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The hyper-parameters."""

        metapaths: tuple[str, ...] = ()
        """On a graph of several types: the paths that join its target nodes."""
        n_neighbors: Whole = 0
        """Nodes that each keeps per path, by PathSim; 0 keeps all."""
        embedding_size: Count = 64
        """Length of the vectors; the layer before is twice as wide."""
        temperature: Positive = 0.4
        """Divides the cosine similarities."""
        edge_drop: tuple[Dropout, Dropout] = (0.2, 0.4)
        """Share of edges that the one and the other picture miss."""
        feature_drop: tuple[Dropout, Dropout] = (0.3, 0.4)
        """Share of feature columns that the one and the other picture miss."""

    suggested: ClassVar[dict[str, Any]] = {"learning_rate": 5e-4, "weight_decay": 1e-5, "epochs": 200}

    def __init__(self, data: Data | HeteroData, config: Config) -> None:
        super().__init__(data, config)
        self.config = config
        self.graph = PlainGraph(data, config.metapaths, config.n_neighbors)
        size = config.embedding_size
        self.encoder = GCN((self.graph.features.size, 2 * size, size))
        self.project = MLPHead(size)
        self.info = NTXent(config.temperature)

    def sampler(self) -> NodeSampler:
        """All nodes at once."""
        return NodeSampler(self.graph.num_nodes, whole=True)

    def forward(self, batch: NodeBatch, phase: str) -> dict[str, Tensor]:
        """`info`: one picture against the other, and itself."""
        first, second = (
            self.project(self.picture(edges, features))
            for edges, features in zip(self.config.edge_drop, self.config.feature_drop, strict=True)
        )
        return {"info": self.info(first, second)}

    def picture(self, edge_drop: float, feature_drop: float) -> Tensor:
        """[N, d] from a graph with random edges and feature columns missing."""
        features = self.graph.features
        kept = torch.rand(features.size, 1, generator=self.generator, device=self.device) >= feature_drop
        value = self.graph.thinned(edge_drop, self.generator)
        return self.encoder(lambda weight: features.times(weight * kept), self.graph.matrix, value)

    @torch.no_grad()
    def embed(self) -> Tensor:
        """[N, d] from the whole graph, before the head."""
        return self.encoder(self.graph.features.times, self.graph.matrix)
