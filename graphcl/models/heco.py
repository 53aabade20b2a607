"""HeCo: self-supervised heterogeneous graph network with co-contrastive learning (Wang et al., KDD 2021)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from graphcl.data.hetero import scipy_features
from graphcl.encoders.attention import SemanticAttention
from graphcl.encoders.gcn import GCN
from graphcl.encoders.heads import MLPHead
from graphcl.errors import InputError
from graphcl.models.base import Embedder, NodeBatch, NodeSampler
from graphcl.models.blocks import sparse_matrix, take_rows
from graphcl.models.features import Features
from graphcl.models.metapath_views import check_type_names, paths_of, target_of
from graphcl.objectives import Edges, InfoNCE
from graphcl.ops import SparseMatrix, segment_softmax, spmm
from graphcl.ranges import Count, Dropout, Positive, Rate
from graphcl.views.metapath import Step, path_counts, step_matrix
from graphcl.views.pathsim import pair_hash


class HeCo(Embedder):
    """The view of a node's own neighbours finds the view of its meta-paths, and the other way round.

    Positives are the nodes that the most meta-paths join to it, unless the data have `positives` [2, E] of the target
    type. Positives stand in the denominator. The whole graph is one batch. Two departures from the authors' code:
    neighbours are drawn without replacement, so that a node with few of them hears each once, and equally joined
    positives are ordered by a fixed hash instead of an unstable sort (on ACM this decides much: see the benchmarks).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Defaults as the authors have them for ACM."""

        metapaths: tuple[str, ...]
        """Paths from the target type back to it."""
        n_samples: Count = 7
        """Neighbours of each type that a node hears in an epoch."""
        n_positives: Count = 5
        """Positives of each node, itself included; not read where the data name positives."""
        embedding_size: Count = 64
        """Length of the vectors."""
        temperature: Positive = 0.8
        """Divides the cosine similarities."""
        feature_drop: Dropout = 0.3
        """Dropout of the projected features."""
        attention_drop: Dropout = 0.5
        """Dropout of the vectors that attend."""
        direction_weight: Rate = 0.5
        """Share of the loss whose anchors are in the meta-path view."""

    suggested: ClassVar[dict[str, Any]] = {"learning_rate": 8e-4, "epochs": 300, "patience": 5}

    positive: Tensor
    graphs: Sequence[SparseMatrix]
    schema: Mapping[str, SparseMatrix]
    features: Mapping[str, Features]
    project_type: Mapping[str, nn.Linear]
    hear: Mapping[str, "NeighborAttention"]
    encoders: Sequence[GCN]

    def __init__(self, data: HeteroData, config: Config) -> None:
        super().__init__(data, config)
        self.config = config
        check_type_names(data)
        self.target = target_of(data)
        counts = [path_counts(data, path) for path in paths_of(data, config.metapaths)]
        self.num_nodes: int = data[self.target].num_nodes
        self.graphs = nn.ModuleList(sparse_matrix(symmetric(count)) for count in counts)  # type: ignore[assignment]
        self.schema = nn.ModuleDict(neighbors(data, self.target))  # type: ignore[assignment]
        known = data[self.target].get("positives")
        positive = most_joined(counts, config.n_positives) if known is None else known
        self.register_buffer("positive", positive, persistent=False)
        types = (self.target, *self.schema)
        tables = {name: Features(scipy_features(data, name), data[name].num_nodes) for name in types}
        self.features = nn.ModuleDict(tables)  # type: ignore[assignment]
        size = config.embedding_size
        linears = {name: nn.Linear(table.size, size) for name, table in tables.items()}
        self.project_type = nn.ModuleDict(linears)  # type: ignore[assignment]
        attentions = {name: NeighborAttention(size, config.attention_drop) for name in self.schema}
        self.hear = nn.ModuleDict(attentions)  # type: ignore[assignment]
        self.join_types = SemanticAttention(size, config.attention_drop)
        self.encoders = nn.ModuleList(GCN((size, size)) for _ in self.graphs)  # type: ignore[assignment]
        self.join_paths = SemanticAttention(size, config.attention_drop)
        self.project = MLPHead(size)
        self.dropout = nn.Dropout(config.feature_drop)
        self.info = InfoNCE(config.temperature, numerator="lse", direction_weight=config.direction_weight)
        for linear in self.project_type.values():
            nn.init.xavier_normal_(linear.weight, gain=1.414)

    def sampler(self) -> NodeSampler:
        """All nodes at once."""
        return NodeSampler(self.num_nodes, whole=True)

    def forward(self, batch: NodeBatch, phase: str) -> dict[str, Tensor]:
        """`info`: meta-paths against the network schema, in both directions."""
        tables = {name: F.elu(self.dropout(self.encode(name))) for name in self.features}
        paths, schema = self.path_view(tables[self.target]), self.schema_view(tables)
        positives = Edges(self.positive, self.num_nodes, self.num_nodes)
        return {"info": self.info(self.project(paths), self.project(schema), positives=positives)}

    @torch.no_grad()
    def embed(self) -> Tensor:
        """[N, d] the meta-path view, without dropout."""
        training = self.training
        self.eval()
        z = self.path_view(F.elu(self.encode(self.target)))
        self.train(training)
        return z

    def encode(self, name: str) -> Tensor:
        """[N_t, d] features of a type in the common space."""
        return self.features[name].through(self.project_type[name])

    def path_view(self, h: Tensor) -> Tensor:
        """[N, d] a graph convolution per path, joined by attention."""
        pairs = zip(self.encoders, self.graphs, strict=True)
        return self.join_paths([encoder(lambda weight: h @ weight, graph) for encoder, graph in pairs])

    def schema_view(self, tables: dict[str, Tensor]) -> Tensor:
        """[N, d] attention over some neighbours of each type, then over types."""
        target = tables[self.target]
        everybody = torch.arange(self.num_nodes, device=target.device)
        heard = []
        for name, matrix in self.schema.items():
            sample, column = take_rows(matrix, everybody, self.config.n_samples, self.generator)
            heard.append(self.hear[name](sample, target, tables[name][column]))
        return self.join_types(heard)


class NeighborAttention(nn.Module):
    """ELU(sum_j alpha_ij h_j), alpha_i = softmax_j LeakyReLU(a . [h_i, h_j]) over the entries of each row."""

    def __init__(self, embedding_size: int, dropout: float) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(2, embedding_size))
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_normal_(self.query, gain=1.414)

    def forward(self, matrix: SparseMatrix, receiver: Tensor, sender: Tensor) -> Tensor:
        """`receiver` [R, d], `sender` [C, d] of a matrix [R, C]: [R, d]."""
        own, other = self.dropout(self.query)
        score = (receiver @ own)[matrix.row] + (sender @ other)[matrix.col]
        weight = segment_softmax(F.leaky_relu(score, 0.01), matrix.crow)
        return F.elu(spmm(matrix, sender, weight))


def neighbors(data: HeteroData, target: str) -> dict[str, SparseMatrix]:
    """Per type that an edge joins to the target: who is joined, by whatever relation, [N, M] of ones."""
    found: dict[str, sp.csr_matrix] = {}
    for edge_type in data.edge_types:
        source, _, destination = edge_type
        if target in (source, destination) and source != destination:
            name = destination if source == target else source
            step = step_matrix(data, Step(edge_type, backwards=destination == target))
            found[name] = found[name] + step if name in found else step
    if not found:
        raise InputError(f"HeCo: no edge joins the target type {target!r} to another type.")
    for joined in found.values():
        joined.data[:] = 1.0
    return {name: sparse_matrix(joined) for name, joined in found.items()}


def symmetric(counts: sp.csr_matrix) -> sp.csr_matrix:
    """D^-1/2 C D^-1/2 of path counts."""
    degree = np.asarray(counts.sum(1)).ravel()
    scale = sp.diags(np.power(degree, -0.5, where=degree > 0, out=np.zeros_like(degree)))
    return (scale @ counts @ scale).tocsr()


def most_joined(counts: Sequence[sp.csr_matrix], limit: int) -> Tensor:
    """[2, E] the node itself, and those that the most paths join to it, `limit` in all; ties by a fixed hash."""
    joined = sum(
        (matrix.astype(bool).astype(np.float32) for matrix in counts[1:]), counts[0].astype(bool).astype(np.float32)
    )
    joined = joined.tocoo()
    inside = joined.row != joined.col
    row, column, paths = joined.row[inside], joined.col[inside], joined.data[inside]
    order = np.lexsort((pair_hash(row, column), -paths, row))
    row, column = row[order], column[order]
    first = np.searchsorted(row, row)
    near = np.arange(row.size) - first < limit - 1
    everybody = np.arange(joined.shape[0])
    pairs = np.concatenate([everybody, row[near]]), np.concatenate([everybody, column[near]])
    return torch.from_numpy(np.stack(pairs).astype(np.int64))
