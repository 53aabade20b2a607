"""What recommenders on the user-item graph share."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graphcl.ops import SparseMatrix, segment_reduce, symmetric_adjacency
from graphcl.ranges import Count, Weight
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.samplers import PairSampler, Triples
from recsys.models.base import UNKNOWN_USER, Index, Recommender
from recsys.models.losses import bpr, l2


class GraphRecommender(Recommender):
    """One vector for each user and item, compared by inner products; a leaf says how the graph mixes them.

    Users and items are rows of one table: user u is row u, item i is row `num_users + i`, as in the graph.
    """

    suggested: ClassVar[dict[str, Any]] = {"train_batch_size": 2048, "learning_rate": 1e-3}

    @dataclass(frozen=True, kw_only=True)
    class Config(Recommender.Config):
        """Keys of every graph model."""

        embedding_size: Count = 64
        """Width of the vectors."""
        reg_weight: Weight = 1e-4
        """Weight of half the squared norm of the batch's own embeddings, per row of the batch."""
        init_std: Weight = 0.1
        """Standard deviation of the first embeddings; 0 takes Xavier's uniform distribution."""
        n_negatives: Count = 1
        """Items drawn against each positive one."""
        hard_negatives: bool = False
        """Whether only the highest scored of the drawn negatives counts (dynamic negative sampling)."""
        negative_popularity: Weight = 0.0
        """Exponent of an item's popularity in the choice of negatives; 0 draws uniformly."""
        uniform_users: bool = False
        """Whether users, not interactions, are drawn with equal chance."""

        def idle(self) -> dict[str, str]:
            """The choice of the hardest among one."""
            one = self.hard_negatives and self.n_negatives == 1
            return {"hard_negatives": "of one negative it is the hardest; set n_negatives"} if one else {}

    config: Config

    def __init__(self, train: Interactions, config: Config) -> None:
        super().__init__(train, config)
        self._train = train
        self.adjacency = bipartite_adjacency(train.graph)
        """D^-1/2 A D^-1/2 over users and items."""
        parts = [torch.empty(count, config.embedding_size) for count in (train.num_users, train.num_items)]
        for part in parts:
            if config.init_std:
                nn.init.normal_(part, std=config.init_std)
            else:
                nn.init.xavier_uniform_(part)
        self.embedding = nn.Parameter(torch.cat(parts))

    def sampler(self) -> PairSampler:
        """Triples of a user, a known and unknown items."""
        return PairSampler(
            self._train,
            negatives=self.config.n_negatives,
            popularity=self.config.negative_popularity,
            users="uniform" if self.config.uniform_users else "interactions",
        )

    @abstractmethod
    def embed(self) -> Tensor:
        """[U + I, d] the vectors that are compared."""

    def halves(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """[U + I, ...] -> [U, ...] and [I, ...]."""
        return table[: self.num_users], table[self.num_users :]

    def nodes(self, batch: Triples) -> tuple[Tensor, Tensor]:
        """Rows of the distinct users and of the distinct positive items of a batch, among all nodes."""
        return batch.user.unique(), batch.positive.unique() + self.num_users

    def ranking(self, batch: Triples, vectors: Tensor) -> dict[str, Tensor]:
        """BPR on `vectors` [U + I, d], and the penalty on the batch's rows of the embedding table."""
        item = self.num_users
        user, positive = vectors.index_select(0, batch.user), vectors.index_select(0, batch.positive + item)
        negative = vectors.index_select(0, (batch.negative + item).flatten()).view(*batch.negative.shape, -1)
        gain = (user * positive).sum(-1)
        loss = (user.unsqueeze(1) * negative).sum(-1)
        chosen = batch.negative
        if self.config.hard_negatives:
            hardest = loss.argmax(1, keepdim=True)
            loss, chosen = loss.gather(1, hardest), chosen.gather(1, hardest)
        rows = torch.cat([batch.user, batch.positive + item, (chosen + item).flatten()])
        penalty = l2(self.embedding.index_select(0, rows), batch_size=len(batch.user))
        return {"bpr": bpr(gain, loss), "reg": self.config.reg_weight * penalty}

    def contrast(
        self, objective: Callable[[Tensor, Tensor], Tensor], batch: Triples, first: Tensor, second: Tensor
    ) -> Tensor:
        """`objective` between two tables [U + I, d]: on the batch's distinct users, plus on its distinct items."""
        users, items = (objective(first.index_select(0, r), second.index_select(0, r)) for r in self.nodes(batch))
        return users + items

    @torch.no_grad()
    def index(self) -> Index:
        """Known users by their vector, others by what they touched."""
        users, items = (half.detach().clone() for half in self.halves(self.embed()))
        known_users, known_items = self.halves(self.adjacency.crow.diff())
        return Index(items, FoldIn(users, items, known_users > 0, known_items.clamp(min=1).to(items).rsqrt()))


def bipartite_adjacency(graph: Data) -> SparseMatrix:
    """The normalised adjacency of a user-item graph; int32 indices, which take half the memory."""
    return symmetric_adjacency(graph.edge_index.int(), graph.num_nodes)


@dataclass(frozen=True)
class FoldIn:
    r"""Answers for known users with their vector, for others with one step of propagation from their history.

    A stranger, or a user without an interaction in training, becomes $\sum_{i \in H} v_i / \sqrt{|H| d_i}$, each item
    of the history H once, as in the graph; and the mean of all known users where H is empty too. `length` of an index
    stays 0, for known users need no history; an evaluation hands over none, so that there, as in published ones, who is
    not in train is answered by that mean, whatever he did in valid.
    """

    users: Tensor
    """[U, d]"""
    items: Tensor
    """[I, d]"""
    known: Tensor
    """[U] bool, who was trained."""
    item_weight: Tensor
    """[I]"""

    def __call__(self, user: Tensor, history: Ragged) -> Tensor:
        """(user [B], history of B rows) -> [B, d]."""
        stranger = user == UNKNOWN_USER
        user = user.masked_fill(stranger, 0)
        stranger = stranger | ~self.known[user]
        vectors = self.users[user]
        rows = stranger.nonzero().flatten()
        if not len(rows):
            return vectors
        average = self.users[self.known].mean(0) if bool(self.known.any()) else self.users.new_zeros(vectors.size(1))
        past = history.take(rows).distinct(len(self.items))
        items = self.items[past.values] * self.item_weight[past.values].unsqueeze(1)
        folded = segment_reduce(items, past.offsets) / past.lengths.clamp(min=1).to(items).sqrt().unsqueeze(1)
        vectors[rows] = torch.where((past.lengths > 0).unsqueeze(1), folded, average)
        return vectors
