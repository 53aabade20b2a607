"""Meta-path counts where all pairs are too many: only pairs that random walks reach, but those counted exactly."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch_geometric.data import HeteroData

from graphcl.errors import InputError
from graphcl.views.metapath import MetaPath, half_path, sorted_csr

PAIRS_AT_A_TIME = 1 << 20


def walked_counts(data: HeteroData, path: MetaPath, n_walks: int, generator: np.random.Generator) -> csr_matrix:
    """C [N, N] on the pairs that `n_walks` walks from each node along `path` reach, and on the diagonal.

    A hub joins everybody with everybody: a type of 60 nodes gives a graph of 10^6 nodes some 10^10 pairs. With the
    half H of a path that mirrors itself, C[i, j] = H[i] . H[j] and C[i, i] = |H[i]|² need no other pair.

    Raises `InputError` for a path that does not mirror itself.
    """
    if not path.palindrome or len(path.steps) % 2:
        raise InputError(
            f"The meta-path {path.text!r} does not mirror itself; only such paths can be sampled (n_walks)."
        )
    half = half_path(data, path)
    back = sorted_csr(half.T)
    start = np.repeat(np.arange(half.shape[0]), n_walks)
    middle, alive = _step(half, start, generator)
    start = start[alive]
    end, _ = _step(back, middle, generator)
    norm = np.asarray(half.multiply(half).sum(1)).ravel()
    diagonal = np.flatnonzero(norm)
    row, column = _distinct(start, end, half.shape[0])
    inside = row != column
    row, column = row[inside], column[inside]
    value = np.concatenate([_dot(half, row, column), norm[diagonal]])
    index = np.concatenate([row, diagonal]), np.concatenate([column, diagonal])
    return sorted_csr(csr_matrix((value, index), shape=(half.shape[0],) * 2))


def _step(
    matrix: csr_matrix, row: NDArray[np.integer], generator: np.random.Generator
) -> tuple[NDArray[np.integer], NDArray[np.bool_]]:
    """A random entry of each row, in proportion to its value; walks from empty rows end."""
    alive = np.diff(matrix.indptr)[row] > 0
    row = row[alive]
    before = np.concatenate([[0.0], np.cumsum(matrix.data)])
    low, high = before[matrix.indptr[row]], before[matrix.indptr[row + 1]]
    entry = np.searchsorted(before, low + generator.random(row.size) * (high - low), side="right") - 1
    entry = np.clip(entry, matrix.indptr[row], matrix.indptr[row + 1] - 1)
    return matrix.indices[entry], alive


def _distinct(
    row: NDArray[np.integer], column: NDArray[np.integer], num_nodes: int
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    key = np.unique(row.astype(np.int64) * num_nodes + column)
    return key // num_nodes, key % num_nodes


def _dot(half: csr_matrix, row: NDArray[np.integer], column: NDArray[np.integer]) -> NDArray[np.float64]:
    """H[i] . H[j] of each pair, some pairs at a time."""
    parts = [
        np.asarray(
            half[row[first : first + PAIRS_AT_A_TIME]].multiply(half[column[first : first + PAIRS_AT_A_TIME]]).sum(1)
        ).ravel()
        for first in range(0, row.size, PAIRS_AT_A_TIME)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)
