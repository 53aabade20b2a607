"""What learns one vector per node."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from graphcl.data.check import check
from graphcl.training.learner import Learner


class NodeBatch(NamedTuple):
    """Some of the target nodes."""

    node: Tensor
    """[B] int64, without repeats."""


class NodeSampler:
    """The nodes in random order and chunks; in one batch that holds them all, in their own order.

    whole: every batch holds them all, whatever its size should be.
    """

    def __init__(self, num_nodes: int, *, whole: bool = False) -> None:
        self.num_nodes, self.whole = num_nodes, whole

    def steps(self, batch_size: int) -> int:
        """How many batches one epoch has; a remainder of one node, which has no negatives, is left out."""
        if self.whole:
            return 1
        return max(1, -(-self.num_nodes // batch_size) - (self.num_nodes % batch_size == 1))

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[NodeBatch]:
        """One epoch."""
        if self.whole or batch_size >= self.num_nodes:
            yield NodeBatch(torch.arange(self.num_nodes))
            return
        order = torch.randperm(self.num_nodes, generator=generator)
        for step in range(self.steps(batch_size)):
            yield NodeBatch(order[step * batch_size : (step + 1) * batch_size])


class Embedder(Learner):
    """Learns, without labels, one vector for each node; `graphcl.evaluation.probe` says what they are worth."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The hyper-parameters and nothing else: one field, one YAML key, explained by the string below it."""

    def __init__(self, data: Data | HeteroData, config: Any) -> None:
        super().__init__()
        if isinstance(data, HeteroData):
            check(data, "data")
        self.config = config

    @abstractmethod
    def embed(self) -> Tensor:
        """[N, d] the vectors as they are now, without gradients or dropout."""
