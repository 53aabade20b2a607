"""Meta-path contexts: what a node meets on its way along a path (MEOW, SDM 2023).

One rule serves every schema: each prefix of a path, shorter than the path, ends among nodes of some type, and the
distinct ones a node reaches are one context. `author-paper-conference-paper-author` gives an author three contexts:
its papers, their conferences, and the papers of those conferences.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch_geometric.data import HeteroData

from graphcl.views.metapath import MetaPath, Step, sorted_csr, step_matrix


@dataclass(frozen=True)
class Context:
    """The distinct nodes of `node_type` that each target node meets at one place of a path.

    The 0/1 matrix [N, M] of who meets whom is the product of `factors`; it is kept in factors where no node can be
    met twice, for then the product of 0/1 matrices is 0/1 already, and often far smaller in parts.
    """

    node_type: str
    steps: tuple[Step, ...]
    """The prefix; paths that begin alike share their first contexts."""
    factors: tuple[csr_matrix, ...]
    count: NDArray[np.float64]
    """[N] how many distinct nodes are met; at least 1, so that a node without context gets zeros."""

    @property
    def matrix(self) -> csr_matrix:
        """[N, M] 0/1."""
        product = self.factors[0]
        for factor in self.factors[1:]:
            product = product @ factor
        return sorted_csr(product)


def contexts(data: HeteroData, path: MetaPath) -> list[Context]:
    """The contexts along `path`, one per proper prefix, shortest first."""
    found: list[Context] = []
    factors: tuple[csr_matrix, ...] = ()
    for length, step in enumerate(path.steps[:-1], start=1):
        factors = _extend(factors, step_matrix(data, step))
        found.append(Context(path.types[length], path.steps[:length], factors, _counted(factors)))
    return found


def _extend(factors: tuple[csr_matrix, ...], step: csr_matrix) -> tuple[csr_matrix, ...]:
    """The factors of one more step: apart if each node is entered from at most one node, else multiplied out."""
    if not factors:
        return (step,)
    entered_from = np.bincount(step.indices, minlength=step.shape[1])
    if entered_from.max(initial=0) <= 1:
        return (*factors, step)
    product = factors[0]
    for factor in (*factors[1:], step):
        product = product @ factor
    product = sorted_csr(product)
    product.data = np.ones_like(product.data)
    return (product,)


def _counted(factors: tuple[csr_matrix, ...]) -> NDArray[np.float64]:
    reached = np.ones(factors[-1].shape[1])
    for factor in reversed(factors):
        reached = factor @ reached
    return np.maximum(reached, 1.0)
