"""LightGCN with meta-path views: who is alike by a path must be alike by propagation, too.

The contexts are those of MEOW (Yu & Li, SDM 2023) and HeCo (Wang et al., KDD 2021), carried over to recommendation:
for users the users that took the same items, for items the items of the same genre.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from graphcl.data.hetero import row_normalized
from graphcl.encoders.light import light
from graphcl.errors import InputError
from graphcl.models.blocks import sparse_matrix
from graphcl.objectives import InfoNCE
from graphcl.ops import SparseMatrix, spmm
from graphcl.ranges import Count, Positive, Weight, Whole
from graphcl.views.metapath import MetaPath, path_counts, types_in
from graphcl.views.pathsim import most_similar
from graphcl.views.walks import walked_counts
from recsys.data.attributes import memberships
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender


class MetaPathLightGCN(GraphRecommender):
    """LightGCN, and for each meta-path a contrast of a node's vector with the mean of its most similar others."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """Keys of the model; with `cl_weight: 0` it is LightGCN."""

        n_layers: Whole = 3
        """Steps of propagation."""
        metapaths: tuple[str, ...] = ("user-item-user",)
        """Paths from user to user or from item to item, over interactions and attributes: item-genre-item."""
        n_neighbors: Count = 20
        """Most similar others, by PathSim, whose mean, weighted by the ways that lead there, is the view of a node."""
        n_walks: Whole = 0
        """0 counts every pair that a path joins; k only those that k random walks from each node reach."""
        cl_weight: Weight = 0.01
        """Weight of the contrasts."""
        temperature: Positive = 0.2
        """Temperature of the contrasts."""

        def __post_init__(self) -> None:
            if not self.metapaths:
                raise InputError("metapaths: name at least one path, such as user-item-user")

    config: Config
    contexts: Sequence[SparseMatrix]
    """Per path [U, U] or [I, I]: rows that average over the most similar others, by path counts."""

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        data = attributed_graph(train, config.metapaths)
        paths = [MetaPath.parse(text, data) for text in config.metapaths]
        self.of_users = [_ends_at_users(path) for path in paths]
        random = np.random.default_rng(int(torch.randint(2**62, ())))
        counts = [
            walked_counts(data, p, config.n_walks, random) if config.n_walks else path_counts(data, p) for p in paths
        ]
        averages = (row_normalized(nearest_others(count, config.n_neighbors)) for count in counts)
        self.contexts = nn.ModuleList(map(sparse_matrix, averages))  # type: ignore[assignment]
        self.objective = InfoNCE(config.temperature)

    def embed(self) -> Tensor:
        """[U + I, d]"""
        return light(self.adjacency, self.embedding, self.config.n_layers)

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """BPR, the norm penalty, and the contrast of both views of the batch's nodes."""
        vectors = self.embed()
        terms = self.ranking(batch, vectors)
        if not self.config.cl_weight:
            return terms
        users, items = self.halves(vectors)
        contrasts = []
        for context, of_users in zip(self.contexts, self.of_users, strict=True):
            side, rows = (users, batch.user.unique()) if of_users else (items, batch.positive.unique())
            rows = rows[context.crow.diff()[rows] > 0]  # a node that the path joins to nobody has no view
            if len(rows):
                view = spmm(context, side)
                contrasts.append(self.objective(side.index_select(0, rows), view.index_select(0, rows)))
        if contrasts:
            terms["contrast"] = self.config.cl_weight * torch.stack(contrasts).sum()
        return terms


def attributed_graph(train: Interactions, metapaths: Sequence[str]) -> HeteroData:
    """Users, items, and every attribute that a path names, as node types; the edges are interactions and memberships.

    Raises:
        InputError: a path names what is neither user, item nor an attribute of the data.
    """
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = train.num_users, train.num_items
    data["user", "took", "item"].edge_index = torch.stack([train.user, train.item])
    named = dict.fromkeys(name for text in metapaths for name in types_in(text))
    for name in named:
        if name in ("user", "item"):
            continue
        side = train.attributes.side(name)
        ids = train.user_ids if side == "user" else train.item_ids
        edge_index, words = memberships(getattr(train.attributes, side)[name], ids or ())
        data[name].num_nodes = len(words)
        data[side, "has", name].edge_index = edge_index
    return data


def nearest_others(counts: csr_matrix, limit: int) -> csr_matrix:
    """The `limit` entries of each row with the highest PathSim, the diagonal left out; the values stay counts."""
    loops = counts.diagonal()
    others = (counts - diags(loops)).tocsr()
    others.eliminate_zeros()
    return most_similar(others, limit, loops=loops)


def _ends_at_users(path: MetaPath) -> bool:
    ends = path.types[0], path.types[-1]
    if ends not in (("user", "user"), ("item", "item")):
        raise InputError(f"metapaths: {path.text!r} must lead from user to user or from item to item")
    return ends == ("user", "user")
