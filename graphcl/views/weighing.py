"""Masks of edges as views of graphs: their weights are multiplied into `edge_weight`, edges of weight zero go."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from graphcl.errors import InputError
from graphcl.ops import SparseMatrix, normalize
from graphcl.views.concrete import ConcreteMask
from graphcl.views.masks import cosine_mask
from graphcl.views.random import RandomView, check_graph
from graphcl.views.structure import keep_edges, undirected_pairs

Signal = Callable[[Data], Tensor]
"""What a mask compares: graph -> [N, d]; by default its features `x`."""


class CosineWeights(BaseTransform):
    """DCCF's mask: `cosine_mask` of a signal, with `by_row` over the sum of each receiving node (`adaptive_mask`)."""

    def __init__(self, signal: Signal | None = None, *, by_row: bool = False) -> None:
        self.signal, self.by_row = signal or features_of, by_row

    def forward(self, data: Data) -> Data:
        """Weigh the edges of a homogeneous graph."""
        check_graph(data, self)
        num_nodes = data.num_nodes
        places = torch.arange(data.edge_index.size(1), device=data.edge_index.device)
        matrix = SparseMatrix.from_edges(data.edge_index, places, shape=num_nodes)
        weight = torch.empty(len(places), device=places.device)
        weight[matrix.value] = cosine_mask(matrix, self.signal(data)).to(weight)
        if self.by_row:
            weight = normalize(data.edge_index.flip(0), num_nodes, weight, by="row")
        return weigh(data, weight)


class ConcreteWeights(RandomView):
    """A `ConcreteMask` on a signal; both directions of an edge share one draw. In evaluation mode nothing is drawn."""

    def __init__(
        self, mask: ConcreteMask, signal: Signal | None = None, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(generator=generator)
        self.mask, self.signal = mask, signal or features_of

    def forward(self, data: Data) -> Data:
        """Weigh the edges of a homogeneous graph."""
        check_graph(data, self)
        pair, _ = undirected_pairs(data.edge_index, data.num_nodes)
        return weigh(data, self.mask(data.edge_index, self.signal(data), self.generator, pair))


def features_of(data: Any) -> Tensor:
    """[N, d]

    Raises:
        InputError: the graph has no features.
    """
    if data.x is None:
        raise InputError("the graph has no features 'x' that a mask could compare; set them, or give the mask a signal")
    x: Tensor = data.x
    return x


def weigh(data: Data, weight: Tensor) -> Data:
    """Multiply `weight` [E] into `edge_weight`, then drop the edges that weigh nothing."""
    data.edge_weight = weight if data.get("edge_weight") is None else data.edge_weight * weight
    keep_edges(data.edge_stores[0], data.edge_weight != 0)
    return data
