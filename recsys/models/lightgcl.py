"""LightGCL: simple yet effective graph contrastive learning for recommendation (Cai et al., ICLR 2023).

Deviations: the anchors of a contrast are the distinct users and the distinct positive items of a batch, where the
authors keep duplicates and add negative items; `drop_ratio` draws edges once an epoch and degrees follow, where theirs
draws for every layer and step and keeps the degrees; the norm penalty is on the batch's rows; the table starts normal,
not by Xavier's rule (`init_std: 0`). As in the authors' code, nothing is normalised, the candidates are all users
(items), and the positive logit counts up to five: beyond, the contrast only pushes away, which keeps vectors from
growing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.encoders.light import layers
from graphcl.errors import InputError
from graphcl.objectives import row_lse
from graphcl.ops import SparseMatrix
from graphcl.ranges import Count, Positive, Rate, Weight
from graphcl.training.learner import Sampler
from graphcl.views.spectral import LowRank, bipartite_block
from graphcl.views.structure import EdgeDrop
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender, bipartite_adjacency

POSITIVE_LIMIT = 5.0
"""Of the logit of a positive pair, as in the authors' code."""


class LightGCL(GraphRecommender):
    """LightGCN, contrasted with what a low-rank copy of the graph makes of the same layers."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """Keys of LightGCL."""

        n_layers: Count = 2
        """Steps of propagation."""
        rank: Count = 5
        """Singular vectors of the low-rank graph."""
        drop_ratio: Rate = 0.0
        """Share of edges that each epoch leaves out of the propagation in training."""
        cl_weight: Weight = 0.2
        """Weight of the contrast."""
        temperature: Positive = 0.2
        """Temperature of the contrast."""

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        if not len(train):
            raise InputError("train: holds no interaction, so there is nothing to compare")
        super().__init__(train, config)
        block = bipartite_block(self.adjacency, self.num_users)
        self.low_rank = LowRank(block, config.rank, generator=torch.Generator().manual_seed(0))
        self.dropped = self.adjacency
        """The graph of this epoch."""

    def begin_epoch(self, sampler: Sampler) -> None:
        """Draw the edges that are left out."""
        if self.config.drop_ratio:
            graph = EdgeDrop(self.config.drop_ratio, generator=self.generator)(self._train.graph)
            self.dropped = bipartite_adjacency(graph).to(self.device)

    def _layers(self, adjacency: SparseMatrix) -> list[Tensor]:
        return layers(adjacency, self.embedding, self.config.n_layers)

    def embed(self) -> Tensor:
        """[U + I, d], the sum over layers."""
        return torch.stack(self._layers(self.adjacency)).sum(0)

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """BPR, the norm penalty, and the contrast with the low-rank graph."""
        found = self._layers(self.dropped)
        total = torch.stack(found).sum(0)
        terms = self.ranking(batch, total)
        if not self.config.cl_weight:
            return terms
        # One product for all layers: the low-rank graph is linear.
        user, item = self.halves(torch.stack(found[:-1]).sum(0))
        first_user, first_item = self.halves(self.embedding)
        views = first_user + self.low_rank(item), first_item + self.low_rank(user, transpose=True)
        nodes = batch.user.unique(), batch.positive.unique()
        contrasts = [
            self._compare(view.index_select(0, rows), table, rows)
            for view, table, rows in zip(views, self.halves(total), nodes, strict=True)
        ]
        terms["contrast"] = self.config.cl_weight * torch.stack(contrasts).sum()
        return terms

    def _compare(self, anchor: Tensor, table: Tensor, rows: Tensor) -> Tensor:
        """InfoNCE of anchors [n, d] with their own rows among all of `table` [N, d], the positive logit clamped."""
        anchor = anchor / self.config.temperature
        positive = (anchor * table.index_select(0, rows)).sum(1).clamp(-POSITIVE_LIMIT, POSITIVE_LIMIT)
        return (row_lse(anchor, table) - positive).mean()
