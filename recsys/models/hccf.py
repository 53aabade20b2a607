"""HCCF: hypergraph contrastive collaborative filtering (Xia et al., SIGIR 2022).

Deviations: of the authors' two codes it follows that for TensorFlow, without its learned map of what is contrasted; a
node's membership in a hyperedge is divided by the length of that hyperedge's column, so that what comes back does not
grow with the number of nodes; hyperedges do not exchange messages among themselves (the paper's hierarchical mapping);
no edge or membership is dropped; BPR in place of the pairwise margin; contrasts are means where theirs are sums, so
that `cl_weight` is about the number of a batch's nodes times theirs; anchors and negatives are the distinct users (or
positive items) of the batch, where the paper takes all as negatives and the code the sampled items, too; the penalty
is on the batch's rows, not on all tables and hyperedges; the temperature is 0.2 (theirs: 1); the table starts normal
(standard deviation 0.01), not by Xavier's rule (`init_std: 0`).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphcl.objectives import InfoNCE
from graphcl.ops import spmm
from graphcl.ranges import Count, Positive, Rate, Weight
from recsys.data.interactions import Interactions
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender


class HCCF(GraphRecommender):
    """What neighbours say of a node is contrasted, in every layer, with what learned hyperedges say of it."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """Keys of HCCF."""

        embedding_size: Count = 32
        """Width of the vectors."""
        init_std: Weight = 0.01
        """Standard deviation of the first embeddings; 0 takes Xavier's uniform distribution. Signals add up in every
        layer, as in DCCF."""
        n_layers: Count = 2
        """Layers."""
        n_hyperedges: Count = 128
        """Learned hyperedges of users, and as many of items."""
        slope: Rate = 0.5
        """Slope of the activation below zero."""
        cl_weight: Weight = 0.1
        """Weight of the contrasts, which are summed over layers and sides."""
        temperature: Positive = 0.2
        """Temperature of the contrasts."""

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        shape = config.embedding_size, config.n_hyperedges
        self.user_hyperedges = nn.Parameter(nn.init.xavier_normal_(torch.empty(shape)))
        self.item_hyperedges = nn.Parameter(nn.init.xavier_normal_(torch.empty(shape)))
        self.objective = InfoNCE(config.temperature)

    def through_hyperedges(self, x: Tensor, first: Tensor, hyperedges: Tensor) -> Tensor:
        r"""$\phi(H \phi(H^\top x))$ with $H = E W$, columns of length one: [n, d], [n, d], [d, K] -> [n, d].

        By associativity nothing of size [n, K] is made: $H^\top x = W^\top (E^\top x)$.
        """
        with torch.autocast(first.device.type, enabled=False):  # in half precision squares may come out negative
            square = (hyperedges * (first.T @ first @ hyperedges)).sum(0)
        membership = hyperedges * square.clamp(min=1e-24).rsqrt()
        message = self.activate(membership.T @ (first.T @ x))
        return self.activate(first @ (membership @ message))

    def activate(self, x: Tensor) -> Tensor:
        """Leaky ReLU."""
        return F.leaky_relu(x, self.config.slope)

    def layerwise(self) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """The sum over layers [U + I, d], and every layer's local and global signal."""
        x: Tensor = self.embedding
        total, first, hyperedges = x, self.halves(x), (self.user_hyperedges, self.item_hyperedges)
        signals = []
        for _ in range(self.config.n_layers):
            near = self.activate(spmm(self.adjacency, x))
            far = torch.cat(list(map(self.through_hyperedges, self.halves(x), first, hyperedges)))
            signals.append((near, far))
            x = x + near + far
            total = total + x
        return total, signals

    def embed(self) -> Tensor:
        """[U + I, d]"""
        return self.layerwise()[0]

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """BPR, the norm penalty, and the contrast of local and global signals."""
        total, signals = self.layerwise()
        terms = self.ranking(batch, total)
        if self.config.cl_weight:
            contrasts = [self.contrast(self.objective, batch, near, far) for near, far in signals]
            terms["contrast"] = self.config.cl_weight * torch.stack(contrasts).sum()
        return terms
