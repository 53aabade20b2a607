"""The keys of a file for `recsys views`: a data set, views of its user-item graph, and vectors of its nodes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.ranges import Count, Seed
from graphcl.views import spectral
from recsys.data.interactions import Interactions
from recsys.models.graph import GraphRecommender, bipartite_adjacency
from recsys.run import Run
from recsys.view_kinds import AnyView, refuse_none


@dataclass(frozen=True, kw_only=True)
class Spectral:
    """The strongest singular vectors of the graph, times the roots of their values."""

    size: Count = 16
    """How many."""

    def load(self, train: Interactions) -> tuple[Tensor, None]:
        """[U + I, size]; the sign of a vector is a matter of chance, and fixed."""
        adjacency = bipartite_adjacency(train.graph)
        rank = min(self.size, adjacency.num_rows)
        left, values, _ = spectral.randomized_svd(adjacency, rank, generator=torch.Generator().manual_seed(0))
        return left * values.sqrt(), None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The embeddings of a trained graph recommender."""

    run: str
    """Its run folder."""

    def load(self, train: Interactions) -> tuple[Tensor, GraphRecommender]:
        """[U + I, d] and the model.

        Raises:
            InputError: the run is of another kind of model, or of other data.
        """
        run = Run.open(Path(self.run).expanduser())
        if not isinstance(run.model, GraphRecommender):
            raise InputError(f"vectors.run: {self.run} is a {run.experiment.kind}, which has no vectors on the graph")
        if run.split.train.digest != train.digest:
            raise InputError(f"vectors.run: {self.run} was trained on other data than the graph is made from")
        model = run.model.cpu().requires_grad_(False)  # as the graph
        return model.embedding.detach(), model


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Every key of the file."""

    dataset: str | dict[str, Any]
    """A name in datasets.yaml, or a block that describes your own files; the graph is that of the training part."""
    split: str | dict[str, Any] | None = None
    """How the data is divided, if not by the data set's first split."""
    filters: list[str | dict[str, Any]] | None = None
    """What is filtered, if not as datasets.yaml says."""
    views: tuple[AnyView, ...]
    """Applied one after another."""
    vectors: Spectral | Trained = field(default_factory=Spectral)
    """What masks compare and feature views change."""
    draws: Count = 3
    """How often the view is drawn; means and standard deviations are over these."""
    seed: Seed = 2026
    """Fixes every draw."""

    def __post_init__(self) -> None:
        refuse_none(self.views)
