"""The backbone that MEOW and AdaMEOW share: a coarse view of all meta-paths, a fine view of each with its contexts."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from graphcl.encoders.attention import SemanticAttention
from graphcl.models.base import Embedder, NodeBatch, NodeSampler
from graphcl.models.blocks import Block, sampled, take_rows, whole
from graphcl.models.features import Features
from graphcl.models.metapath_views import MetaPathViews
from graphcl.ops import SparseMatrix, spmm
from graphcl.ranges import Count, Dropout, Positive, Rate, Whole
from graphcl.views.pathsim import Ties


class Views(NamedTuple):
    """Two views of a batch of nodes."""

    coarse: Tensor
    """[B, d] the target's features through the mean of all meta-path graphs."""
    fine: Tensor
    """[B, d] the attention over every path and its masked copy: the embedding."""


class SharedGCN(nn.Module):
    """Two layers without bias, the same for every view, then a LayerNorm over the whole table (MEOW).

    PReLU(A dropout(h W1)),  A dropout(. W2),  (z - mean) / sqrt(variance + 1e-5) over all N x d entries
    """

    def __init__(self, embedding_size: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.empty(embedding_size, embedding_size))
        self.second = nn.Parameter(torch.empty(embedding_size, embedding_size))
        self.activation = nn.PReLU()
        self.dropout = nn.Dropout(dropout)
        bound = embedding_size**-0.5
        for weight in (self.first, self.second):
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, h: Tensor, block: Block) -> Tensor:
        """[S0, d] -> [S, d]"""
        h = self.activation(spmm(block.inner, self.dropout(h @ self.first)))
        h = spmm(block.outer, self.dropout(h @ self.second))
        return F.layer_norm(h, h.shape)


class MetaPathEmbedder(Embedder):
    """Encodes the target nodes of a `HeteroData` in two views; a subclass contrasts them.

    The random masks of features and edges are drawn once, when the learner is built, from torch's global generator,
    as its parameters are. A batch that holds all nodes is encoded exactly, as published; for a smaller one
    neighbours and contexts are sampled, and the LayerNorm sees the batch.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What both models know."""

        metapaths: tuple[str, ...]
        """Paths from the target type back to it, such as paper-author-paper."""
        n_neighbors: tuple[Count, ...]
        """Per path (or one for all): how many nodes each node keeps, by PathSim."""
        embedding_size: Count = 64
        """Length of the vectors."""
        drop_ratio: Dropout = 0.2
        """Dropout of projections, contexts, layers and attention."""
        feature_mask: Rate = 0.2
        """Share of the target's non-zero features that the masked copies miss."""
        edge_mask: tuple[Rate, ...] = (0.2,)
        """Per path (or one for all): share of the edges that its masked copy misses."""
        temperature: Positive = 0.5
        """Divides the similarities of the contrast."""
        ties: Ties = "spread"
        """Which of equally similar nodes are kept: spread (a fixed hash), index (the smaller number), published."""
        n_walks: Whole = 0
        """0 counts every pair that a path joins; k only those that k random walks from each node reach."""
        fan_out: Count = 10
        """Neighbours drawn per node, path and layer where a batch does not hold all nodes."""

    project_type: Mapping[str, nn.Linear]
    aggregate: Sequence[Sequence[nn.Linear]]

    def __init__(self, data: HeteroData, config: Any) -> None:
        super().__init__(data, config)
        self.config = config
        self.inputs = MetaPathViews(data, config, np.random.default_rng(int(torch.randint(2**62, ()))))
        size = config.embedding_size
        linears = {name: nn.Linear(features.size, size) for name, features in self.inputs.features.items()}
        self.project_type = nn.ModuleDict(linears)  # type: ignore[assignment]
        by_path = ([nn.Linear(size, size, bias=False) for _ in places] for places in self.inputs.places)
        self.aggregate = nn.ModuleList(map(nn.ModuleList, by_path))  # type: ignore[assignment]
        self.gcn = SharedGCN(size, config.drop_ratio)
        self.attention = SemanticAttention(size, config.drop_ratio)
        self.dropout = nn.Dropout(config.drop_ratio)

    @abstractmethod
    def forward(self, batch: NodeBatch, phase: str) -> dict[str, Tensor]:
        """The contrast of the two views of a batch."""

    def sampler(self) -> NodeSampler:
        """All nodes at once where `train_batch_size` is as large as the graph."""
        return NodeSampler(self.inputs.num_nodes)

    @torch.no_grad()
    def embed(self) -> Tensor:
        """[N, d] the fine view of the whole graph, without dropout."""
        training = self.training
        self.eval()
        z = self.whole_views().fine
        self.train(training)
        return z

    def views(self, batch: NodeBatch) -> Views:
        """Both views of a batch."""
        if len(batch.node) == self.inputs.num_nodes:
            return self.whole_views()
        return self.sampled_views(batch.node)

    def whole_views(self) -> Views:
        """Both views of all nodes, [N, d] each."""
        inputs = self.inputs
        own = self.encode_type(inputs.target)
        masked = self.encode_target(inputs.masked_features)
        tables = {name: own if name == inputs.target else self.encode_type(name) for name in inputs.features}
        means = [
            chain(factors, tables[name])
            for name, factors in zip(inputs.context_types, inputs.context_factors, strict=True)
        ]
        found = []
        for path, (graph, thinned) in enumerate(zip(inputs.graphs, inputs.masked_graphs, strict=True)):
            met = self.gather(path, {place: means[place] for place in inputs.places[path]})
            found.append(self.gcn(F.elu(own + met), whole(graph)))
            found.append(self.gcn(F.elu(masked + met), whole(thinned)))
        return Views(self.gcn(own, whole(inputs.coarse_graph)), self.fuse(found))

    def sampled_views(self, node: Tensor) -> Views:
        """Both views of some nodes [B], from sampled neighbours and contexts: [B, d] each."""
        inputs = self.inputs
        own = inputs.features[inputs.target]
        found = []
        for path, graphs in enumerate(zip(inputs.graphs, inputs.masked_graphs, strict=True)):
            for graph, features in zip(graphs, (own, inputs.masked_features), strict=True):
                block, sources = self.block(graph, node)
                means = {place: self.sampled_mean(place, sources) for place in inputs.places[path]}
                h = self.encode_target(features, sources)
                found.append(self.gcn(F.elu(h + self.gather(path, means)), block))
        block, sources = self.block(inputs.coarse_graph, node)
        return Views(self.gcn(self.encode_target(own, sources), block), self.fuse(found))

    def fuse(self, found: list[Tensor]) -> Tensor:
        """The attention over the views, each of unit rows."""
        return self.attention([F.normalize(view, dim=1) for view in found])

    def encode_type(self, name: str, node: Tensor | None = None) -> Tensor:
        """[S, d] features of some (all if None) nodes of a type in the common space."""
        return F.elu(self.dropout(self.inputs.features[name].through(self.project_type[name], node)))

    def encode_target(self, features: Features, node: Tensor | None = None) -> Tensor:
        """[S, d] the target's own or masked features in the common space."""
        return F.elu(self.dropout(features.through(self.project_type[self.inputs.target], node)))

    def gather(self, path: int, means: Mapping[int, Tensor]) -> Tensor:
        """[S, d] what the nodes meet along a path: the mean at each place, transformed by a matrix of its own."""
        terms = [
            self.dropout(aggregate(means[place]))
            for aggregate, place in zip(self.aggregate[path], self.inputs.places[path], strict=True)
        ]
        return torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]

    def sampled_mean(self, place: int, node: Tensor) -> Tensor:
        """[S, d] an unbiased estimate of the mean of the nodes met at one place of a path."""
        rows = []
        for factor in self.inputs.context_factors[place]:
            sample, node = take_rows(factor, node, self.config.fan_out, self.generator)
            rows.append(sample)
        return chain(rows, self.encode_type(self.inputs.context_types[place], node))

    def block(self, graph: SparseMatrix, node: Tensor) -> tuple[Block, Tensor]:
        """Two sampled layers towards some nodes, and the nodes [S0] whose inputs they need."""
        return sampled(graph, node, self.config.fan_out, self.generator)


def chain(factors: Iterable[SparseMatrix], table: Tensor) -> Tensor:
    """The product of some matrices with a table, from the right."""
    for factor in reversed(list(factors)):
        table = spmm(factor, table)
    return table
