"""The views that a file for `recsys views` can name, each with its keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphcl.encoders.intents import intent_mixture
from graphcl.errors import InputError
from graphcl.ops import spmm
from graphcl.ranges import Count, Positive, Range, Rate, Weight
from graphcl.views import concrete, diffusion, feature, noise, random, spectral, structure, weighing
from recsys.data.interactions import Interactions
from recsys.models.dccf import DCCF
from recsys.models.graph import GraphRecommender, bipartite_adjacency

View = Any
"""Graph -> graph."""


@dataclass(frozen=True)
class Surroundings:
    """What views are made from."""

    train: Interactions
    vectors: Tensor
    """[U + I, d]"""
    model: GraphRecommender | None
    """Whose vectors they are, where they were trained."""
    seeds: Iterator[int]

    def generator(self) -> torch.Generator:
        """A generator for one more view."""
        return torch.Generator().manual_seed(next(self.seeds))


class Kind:
    """A view that YAML can name."""

    def build(self, around: Surroundings) -> View:
        """The view itself."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class EdgeDrop(Kind):
    """Lose a share of the edges."""

    ratio: Rate
    """The share."""

    def build(self, around: Surroundings) -> View:
        """Both directions of an edge share one fate."""
        return structure.EdgeDrop(self.ratio, generator=around.generator())


@dataclass(frozen=True, kw_only=True)
class NodeDrop(Kind):
    """Isolate a share of the nodes."""

    ratio: Rate
    """The share."""

    def build(self, around: Surroundings) -> View:
        """Users and items are drawn together."""
        return structure.NodeDrop(self.ratio, generator=around.generator())


@dataclass(frozen=True, kw_only=True)
class EdgeAdd(Kind):
    """Join random users with random items."""

    ratio: Weight
    """New edges over edges."""

    def build(self, around: Surroundings) -> View:
        """Never two users or two items."""
        return structure.EdgeAdd(self.ratio, sides=around.train.num_users, generator=around.generator())


@dataclass(frozen=True, kw_only=True)
class RandomWalkSubgraph(Kind):
    """Keep what random walks visit."""

    roots: Rate
    """Share of nodes from which a walk starts."""
    length: Count
    """Steps of each."""
    restart: Rate = 0.0
    """Chance to jump back before a step."""

    def build(self, around: Surroundings) -> View:
        """The subgraph among visited nodes."""
        return structure.RandomWalkSubgraph(self.roots, self.length, restart=self.restart, generator=around.generator())


@dataclass(frozen=True, kw_only=True)
class FeatureMask(Kind):
    """Set a share of the features to zero."""

    ratio: Rate
    """The share."""

    def build(self, around: Surroundings) -> View:
        """The same features for all nodes."""
        return feature.FeatureMask(self.ratio, generator=around.generator())


@dataclass(frozen=True, kw_only=True)
class FeatureShuffle(Kind):
    """Deal the vectors of some nodes anew among them."""

    ratio: Rate = 1.0
    """Share of the nodes."""

    def build(self, around: Surroundings) -> View:
        """Users and items alike."""
        return feature.FeatureShuffle(self.ratio, generator=around.generator())


@dataclass(frozen=True, kw_only=True)
class SignedNoise(Kind):
    """Move every vector within its orthant, as SimGCL does."""

    size: Annotated[float, Range(0, 1e6)]
    """How far."""

    def build(self, around: Surroundings) -> View:
        """Noise on the vectors."""
        return noise.SignedNoise(self.size, generator=around.generator())


@dataclass(frozen=True, kw_only=True)
class PersonalizedPageRank(Kind):
    """Give every node the nodes that walks from it end at."""

    alpha: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.15
    """Chance that a walk ends at a step."""
    top_k: Count = 32
    """Neighbours of a node."""
    tolerance: Positive = 1e-3
    """Mass of the series that is left out."""

    def build(self, around: Surroundings) -> View:
        """Nothing is random."""
        return diffusion.PersonalizedPageRank(self.alpha, self.top_k, tolerance=self.tolerance)


@dataclass(frozen=True, kw_only=True)
class LowRank(Kind):
    """The strongest entries of the low-rank graph of LightGCL, as many for each node as it has edges."""

    rank: Count
    """Singular vectors of the normalised users-by-items block."""

    def build(self, around: Surroundings) -> View:
        """The start of the iteration is random."""
        return spectral.LowRankEdges(self.rank, sides=around.train.num_users, generator=around.generator())


@dataclass(frozen=True, kw_only=True)
class CosineMask(Kind):
    """DCCF's adaptive mask."""

    signal: Literal["vectors", "local", "intents"] = "local"
    """What is compared: the vectors, one propagation of them, or their mixtures of latent intents."""
    by_row: bool = False
    """Whether weights are divided by the sum of the node that receives."""
    n_intents: Count = 128
    """Latent intents, drawn at random where the vectors are not from a DCCF."""

    def build(self, around: Surroundings) -> View:
        """As in the first layer of DCCF."""
        signals = {"vectors": None, "local": self._local(around), "intents": self._intents(around)}
        return weighing.CosineWeights(signals[self.signal], by_row=self.by_row)

    def _local(self, around: Surroundings) -> weighing.Signal:
        adjacency = bipartite_adjacency(around.train.graph)
        return lambda data: spmm(adjacency, data.x)

    def _intents(self, around: Surroundings) -> weighing.Signal:
        users, size = around.train.num_users, around.vectors.size(1)
        if isinstance(around.model, DCCF):
            prototypes = [around.model.user_intent, around.model.item_intent]
        else:
            drawn = torch.randn(2, size, self.n_intents, generator=around.generator())
            prototypes = list(drawn * (2 / (size + self.n_intents)) ** 0.5)

        def signal(data: Data) -> Tensor:
            sides = zip((data.x[:users], data.x[users:]), prototypes, strict=True)
            return torch.cat([intent_mixture(side, own) for side, own in sides])

        return signal


@dataclass(frozen=True, kw_only=True)
class ConcreteMask(Kind):
    """Relaxed coin tosses on the edges, with exact zeros, from an untrained scorer of their ends."""

    temperature: Positive = 0.5
    """Low temperatures give weights near 0 and 1."""
    hidden_size: Count = 64
    """Width of the scorer."""
    budget: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.8
    """Expected share of edges that keep some weight; the scorer's bias is set so."""

    def build(self, around: Surroundings) -> View:
        """The scorer's weights follow from the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(next(around.seeds))
            scorer = concrete.EdgeScorer(around.vectors.size(1), self.hidden_size)
        mask = concrete.ConcreteMask(scorer, start=self.temperature, end=self.temperature)
        mask.set_budget(around.train.graph.edge_index, around.vectors, self.budget)
        return weighing.ConcreteWeights(mask.requires_grad_(False), generator=around.generator())


def refuse_none(views: "tuple[AnyView, ...]") -> None:
    """Raise `InputError` where no view is named."""
    if not views:
        raise InputError("views: names none; give at least one, such as [{kind: edge_drop, ratio: 0.2}]")


@dataclass(frozen=True, kw_only=True)
class Compose(Kind):
    """Views one after another."""

    views: "tuple[AnyView, ...]"
    """In this order."""

    def __post_init__(self) -> None:
        refuse_none(self.views)

    def build(self, around: Surroundings) -> View:
        """A chain."""
        return random.Compose([view.build(around) for view in self.views])


@dataclass(frozen=True, kw_only=True)
class RandomChoice(Kind):
    """One of several views, drawn anew each time."""

    views: "tuple[AnyView, ...]"
    """What is drawn from."""
    weights: tuple[Weight, ...] | None = None
    """How often each, relative to the others; equally often if absent."""

    def __post_init__(self) -> None:
        refuse_none(self.views)
        if self.weights is not None and (len(self.weights) != len(self.views) or not sum(self.weights)):
            raise InputError(f"weights: {len(self.views)} views need as many weights, not all of them 0")

    def build(self, around: Surroundings) -> View:
        """Draws, then applies."""
        return random.RandomChoice(
            [view.build(around) for view in self.views], self.weights, generator=around.generator()
        )


AnyView = (
    EdgeDrop
    | NodeDrop
    | EdgeAdd
    | RandomWalkSubgraph
    | FeatureMask
    | FeatureShuffle
    | SignedNoise
    | PersonalizedPageRank
    | LowRank
    | CosineMask
    | ConcreteMask
    | Compose
    | RandomChoice
)
