"""DGI: deep graph infomax (Veličković et al., ICLR 2019)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData

from graphcl.encoders.gcn import GCN
from graphcl.models.base import Embedder, NodeBatch, NodeSampler
from graphcl.models.plain_graph import PlainGraph
from graphcl.ranges import Count, Whole


class DGI(Embedder):
    """Tells nodes from nodes with shuffled features, by a bilinear form with a summary of the graph.

        s = sigmoid(mean_i h_i),   L = -1/2 mean_i [log sigmoid(h_i W s) + log(1 - sigmoid(h'_i W s))]

    The whole graph is one batch.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The hyper-parameters."""

        metapaths: tuple[str, ...] = ()
        """On a graph of several types: the paths that join its target nodes."""
        n_neighbors: Whole = 0
        """Nodes that each keeps per path, by PathSim; 0 keeps all."""
        embedding_size: Count = 64
        """Length of the vectors."""

    suggested: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "epochs": 300}

    def __init__(self, data: Data | HeteroData, config: Config) -> None:
        super().__init__(data, config)
        self.config = config
        self.graph = PlainGraph(data, config.metapaths, config.n_neighbors)
        self.encoder = GCN((self.graph.features.size, config.embedding_size))
        self.form = nn.Parameter(torch.empty(config.embedding_size, config.embedding_size))
        nn.init.xavier_uniform_(self.form)

    def sampler(self) -> NodeSampler:
        """All nodes at once."""
        return NodeSampler(self.graph.num_nodes, whole=True)

    def forward(self, batch: NodeBatch, phase: str) -> dict[str, Tensor]:
        """`info`: the mean cross-entropy over nodes and shuffled nodes."""
        features, matrix = self.graph.features, self.graph.matrix
        order = torch.randperm(self.graph.num_nodes, generator=self.generator, device=self.device)
        real = self.encoder(features.times, matrix)
        shuffled = self.encoder(lambda weight: features.times(weight)[order], matrix)
        summary = self.form @ real.mean(0).sigmoid()
        score = torch.cat([real @ summary, shuffled @ summary])
        truth = torch.cat([torch.ones(len(real)), torch.zeros(len(shuffled))]).to(score)
        return {"info": F.binary_cross_entropy_with_logits(score, truth)}

    @torch.no_grad()
    def embed(self) -> Tensor:
        """[N, d] from the whole graph."""
        return self.encoder(self.graph.features.times, self.graph.matrix)
