"""AdaMEOW: meta-path contexts and adaptively weighted negatives (Yu, Ge, Li & Zhou, TKDE 2024).

Deviations from the authors' code: as in `graphcl.models.meow`, vectors are read without dropout and the masked view has
dropout on every data set.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphcl.encoders.heads import UnitHead
from graphcl.models.base import NodeBatch
from graphcl.models.metapath import MetaPathEmbedder
from graphcl.objectives import AdaptiveInfoNCE, LearnedWeight, PairMLP, dot, row_lse
from graphcl.ranges import Count, Whole


class AdaMEOW(MetaPathEmbedder):
    """The fine view of a node finds its coarse view; a small network weighs the pairs, trained by the same loss.

        w_ij = sigmoid(w2 . tanh(W1 (v_i + u_j) + b1) + b2),   L = -log(e^(v_i.u_i/t) / sum_j w_ij e^(v_i.u_j/t))

    Nothing anchors the scale of w: shrinking every weight lowers the loss by a constant. So the loss says little about
    training, and is no reason to stop it; `normalize_weights` takes this freedom away.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MetaPathEmbedder.Config):
        """Sizes as the authors have them for ACM. Their temperature there (1.0), shares of masked features and edges
        (0.3, 0.3 and 0.2), dropout 0.3 and all nodes in one batch are set in our configurations of it, not here.
        """

        weight_hidden_size: Count = 16
        """Width of the network that weighs pairs."""
        projection_size: Whole = 0
        """Length of the projected rows; 0 for the embedding's own (64 to 16 on AMiner)."""
        normalize_weights: bool = False
        """Whether the weights of each row are scaled to mean 1; not so as published."""

    suggested: ClassVar[dict[str, Any]] = {"learning_rate": 5e-5, "weight_decay": 1e-5, "epochs": 1200}

    def __init__(self, data: HeteroData, config: Config) -> None:
        super().__init__(data, config)
        size = config.projection_size or config.embedding_size
        self.project = UnitHead(config.embedding_size, size)
        self.info = AdaptiveInfoNCE(PairMLP(size, config.weight_hidden_size), config.temperature, similarity=dot)

    def forward(self, batch: NodeBatch, phase: str) -> dict[str, Tensor]:
        """`info`: fine against coarse."""
        views = self.views(batch)
        return self.contrast(self.project(views.fine), self.project(views.coarse))

    def contrast(self, v: Tensor, u: Tensor) -> dict[str, Tensor]:
        """The loss of the projected fine rows v [B, d] against the coarse rows u [B, d]."""
        info = self.info(v, u)
        if self.config.normalize_weights:
            # log sum_j (w_ij / mean_j w_ij) e^a_ij = log sum_j w_ij e^a_ij - log mean_j w_ij
            info = info - self.log_weight_sums(v, u).mean() + math.log(len(u))
        return {"info": info}

    def log_weight_sums(self, v: Tensor, u: Tensor) -> Tensor:
        """[B] log sum_j w_ij of each fine row."""
        return row_lse(torch.zeros_like(v), torch.zeros_like(u), terms=[LearnedWeight(self.info.weight_net, v, u)])

    @torch.no_grad()
    def weight_spread(self) -> dict[str, float]:
        """Mean and standard deviation of the weights over all pairs, and of the means of the rows; without dropout."""
        training = self.training
        self.eval()
        views = self.whole_views()
        v, u = self.project(views.fine), self.project(views.coarse)
        rows = [self.info.weight_net(some, u).exp() for some in v.split(256)]
        self.train(training)
        count = len(v) * len(u)
        mean = sum(float(w.sum(dtype=torch.float64)) for w in rows) / count
        square = sum(float(w.square().sum(dtype=torch.float64)) for w in rows) / count
        row_means = torch.cat([w.mean(1) for w in rows])
        return {
            "weight_mean": mean,
            "weight_std": max(0.0, square - mean**2) ** 0.5,
            "weight_row_std": float(row_means.std(unbiased=False)),
        }
