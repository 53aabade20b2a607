"""Meta-paths: walks through the node types of a heterogeneous graph, counted without ever being enumerated.

A path is written the way people say it: `"paper-author-paper"`. Where two types are joined by several relations, the
wanted one stands in brackets: `"user-(rates)-item-(rates)-user"`. A relation may be walked against its direction.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from torch_geometric.data import HeteroData

from graphcl.errors import InputError

EdgeType = tuple[str, str, str]


class Step(NamedTuple):
    """One step of a path: an edge type, and whether it is walked from its destination to its source."""

    edge_type: EdgeType
    backwards: bool

    @property
    def reverse(self) -> "Step":
        """The same edges, walked the other way."""
        return Step(self.edge_type, not self.backwards)


@dataclass(frozen=True)
class MetaPath:
    """A walk through node types, resolved against the edge types of one graph."""

    text: str
    types: tuple[str, ...]
    """The node types met, L + 1 of them."""
    steps: tuple[Step, ...]
    """The L steps between them."""

    @classmethod
    def parse(cls, text: str, data: HeteroData) -> "MetaPath":
        """Read `text` against the schema of `data`; `InputError` where a type or a step does not exist."""
        tokens, types = _tokens(text), types_in(text)
        for name in types:
            if name not in data.node_types:
                raise InputError(
                    f"The meta-path {text!r} names the node type {name!r}; the graph has {', '.join(data.node_types)}, "
                    f"joined by {_written(data.edge_types) or 'no edges'}."
                )
        if len(types) < 2 or tokens[0].startswith("(") or tokens[-1].startswith("("):
            raise InputError(f"The meta-path {text!r} needs at least two node types, joined by hyphens.")
        return cls(text, types, _mirrored(tuple(_steps(text, tokens, data)), data))

    @property
    def palindrome(self) -> bool:
        """Whether the path reads the same from both ends, so that its second half mirrors its first."""
        return self.steps == tuple(step.reverse for step in reversed(self.steps))


def types_in(text: str) -> tuple[str, ...]:
    """The node types that a path names, in its order; a kind of edge stands in brackets and is none."""
    return tuple(token for token in _tokens(text) if not token.startswith("("))


def _tokens(text: str) -> list[str]:
    return [token.strip() for token in re.split(r"-(?![^(]*\))", text)]


def _steps(text: str, tokens: list[str], data: HeteroData) -> list[Step]:
    steps, relation = [], None
    previous = tokens[0]
    for token in tokens[1:]:
        if token.startswith("("):
            relation = token.strip("()").strip()
            continue
        steps.append(_find_step(text, previous, relation, token, data))
        previous, relation = token, None
    return steps


def _mirrored(steps: tuple[Step, ...], data: HeteroData) -> tuple[Step, ...]:
    """The same steps; one that walks stored reverse edges, as `ToUndirected` adds them, is its mate walked backwards.

    So a path through such a graph mirrors itself as it does where each edge is stored once.
    """
    half = len(steps) // 2
    if len(steps) % 2:
        return steps
    back = [
        mate.reverse if step != mate.reverse and _same_edges(data, step, mate.reverse) else step
        for step, mate in zip(steps[half:], reversed(steps[:half]), strict=True)
    ]
    return (*steps[:half], *back)


def _same_edges(data: HeteroData, one: Step, other: Step) -> bool:
    first, second = step_matrix(data, one), step_matrix(data, other)
    return first.shape == second.shape and (first != second).nnz == 0


def _find_step(text: str, source: str, relation: str | None, target: str, data: HeteroData) -> Step:
    edge_types: list[EdgeType] = data.edge_types
    wanted = [edge for edge in edge_types if relation is None or edge[1] == relation]
    found = [Step(edge, False) for edge in wanted if (edge[0], edge[2]) == (source, target)]
    found = found or [Step(edge, True) for edge in wanted if (edge[2], edge[0]) == (source, target)]
    if len(found) == 1:
        return found[0]
    between = f"from {source!r} to {target!r}" + (f" by {relation!r}" if relation else "")
    if found:
        names = ", ".join(step.edge_type[1] for step in found)
        raise InputError(
            f"The meta-path {text!r} is ambiguous {between}: name one of the relations {names} in brackets, as in "
            f"'{source}-({found[0].edge_type[1]})-{target}'."
        )
    raise InputError(
        f"The meta-path {text!r} steps {between}, and no edge type joins them; the graph has {_written(edge_types)}."
    )


def _written(edge_types: list[EdgeType]) -> str:
    return ", ".join("-".join(edge) for edge in edge_types)


def step_matrix(data: HeteroData, step: Step) -> csr_matrix:
    """The 0/1 matrix of one step, rows where it starts; an edge that is listed twice counts once."""
    source, _, target = step.edge_type
    row, column = data[step.edge_type].edge_index.numpy()
    shape = data[source].num_nodes, data[target].num_nodes
    matrix = csr_matrix((np.ones(row.size), (row, column)), shape=shape)
    matrix.data[:] = 1.0
    return matrix.T.tocsr() if step.backwards else matrix


def path_counts(data: HeteroData, path: MetaPath) -> csr_matrix:
    """C [N, M] float64: how many instances of `path` join each pair of its ends, the diagonal included.

    A path that mirrors itself is multiplied from its half: C = H Hᵀ.
    """
    if path.palindrome and len(path.steps) % 2 == 0:
        half = half_path(data, path)
        counts = half @ half.T
    else:
        counts = _product(data, path.steps)
    return sorted_csr(counts)


def half_path(data: HeteroData, path: MetaPath) -> csr_matrix:
    """H [N, M]: how many instances of the first half of `path` join each node to each node of the middle type."""
    return _product(data, path.steps[: len(path.steps) // 2])


def _product(data: HeteroData, steps: tuple[Step, ...]) -> csr_matrix:
    product = step_matrix(data, steps[0])
    for step in steps[1:]:
        product = product @ step_matrix(data, step)
    return product


def sorted_csr(matrix: csr_matrix) -> csr_matrix:
    """The same matrix as CSR with sorted columns."""
    matrix = matrix.tocsr()
    matrix.sort_indices()
    return matrix
