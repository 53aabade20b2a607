"""PathSim and the meta-path graphs that follow from it (Sun et al., VLDB 2011)."""

from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags, eye

from graphcl.errors import refuse_unknown_word

SORT_BLOCK = 1 << 19
"""Entries handled at a time: four megabytes for each array about them."""

Ties = Literal["spread", "index", "published"]
"""Which of equally similar nodes are kept; in dense meta-path graphs nearly every cut falls into a tie.

`spread`: in the order of a fixed hash of the pair, the same on every machine, so that no node is favoured.
`index`: the smaller number first.
`published`: as MEOW's code has it, numpy's unstable argsort of the dense row, reversed; slow, and up to numpy's build.

The last two let the numbers of nodes decide, the same for all members of a clique: some are picked by everybody, the
others by nobody. Where files list nodes by class, as ACM and AMiner do, this tells the classes apart: in ACM's largest
clique `published` picks 522 of the 538 papers of one class and 177 of the 1301 of another.
"""


def pathsim(counts: csr_matrix, loops: NDArray[np.float64] | None = None) -> csr_matrix:
    """PathSim(i, j) = 2 C[i, j] / max(1, C[i, i] + C[j, j]), on the pairs that a path joins; counts [N, N] -> [N, N].

    Of a path that mirrors itself every score is at most 1, and the maximum changes nothing: a node that it joins to
    another it joins to itself. Other paths, such as paper-paper-paper over citations, may lead no node back to itself.
    There the maximum keeps scores finite: two such nodes are as similar as if they had one way back between them, 0 if
    nothing joins them, and the more the more instances do; scores may exceed 1.

    loops: [N] the ways from each node back to itself, where `counts` does not have them on its diagonal.
    """
    loops = counts.diagonal() if loops is None else loops
    ways_back = np.repeat(loops, np.diff(counts.indptr)) + loops[counts.indices]
    score = 2 * counts.data / np.maximum(ways_back, 1)
    return csr_matrix((score, counts.indices, counts.indptr), shape=counts.shape)


def most_similar(
    counts: csr_matrix, limit: int | None, ties: Ties = "spread", loops: NDArray[np.float64] | None = None
) -> csr_matrix:
    """Keep the `limit` entries of each row with the highest PathSim; the values stay counts.

    Rows with fewer entries keep them all; the diagonal (score 1) competes like any other entry. Who wants others only
    takes it out of `counts` and gives it as `loops` [N]. Equal scores are ordered by `ties`.
    """
    refuse_unknown_word("ties", ties, get_args(Ties))
    lengths = np.diff(counts.indptr)
    if limit is None or lengths.max(initial=0) <= limit:
        return counts
    if ties == "published":
        return _as_published(counts, limit, loops)
    loops = counts.diagonal() if loops is None else loops
    bounds = np.searchsorted(counts.indptr, np.arange(0, counts.nnz + SORT_BLOCK, SORT_BLOCK))
    blocks = pairwise(bounds)
    return _select(counts, np.concatenate([_kept(counts, loops, limit, ties, *block) for block in blocks]))


def _kept(
    counts: csr_matrix, loops: NDArray[np.float64], limit: int, ties: Ties, first: int, last: int
) -> NDArray[np.bool_]:
    """Which entries of some rows are kept; rows are cut a block at a time to bound the memory."""
    indptr = counts.indptr[first : min(last, counts.shape[0]) + 1]
    entries = slice(indptr[0], indptr[-1])
    indptr, column, data = indptr - indptr[0], counts.indices[entries], counts.data[entries]
    lengths = np.diff(indptr)
    row = np.repeat(np.arange(lengths.size, dtype=column.dtype), lengths)
    ways_back = np.repeat(loops[first : first + lengths.size], lengths) + loops[column]
    distance = data / np.maximum(ways_back, 1, out=ways_back)  # as in `pathsim`
    np.negative(distance, out=distance)
    farthest = _kth_smallest(distance, indptr, np.full(lengths.size, limit))[row]
    near, tied = distance < farthest, np.flatnonzero(distance == farthest)
    room = limit - np.bincount(row[near], minlength=lengths.size)
    before = np.concatenate([[0], np.cumsum(np.bincount(row[tied], minlength=lengths.size))])
    order = pair_hash(row[tied] + first, column[tied]) if ties == "spread" else column[tied]
    near[tied] = order <= _kth_smallest(order, before, room)[row[tied]]
    return near


def _as_published(counts: csr_matrix, limit: int, loops: NDArray[np.float64] | None) -> csr_matrix:
    """Row by row: the last `limit` of numpy's argsort."""
    keep = np.ones(counts.nnz, dtype=bool)
    score = pathsim(counts, loops)
    for row in np.flatnonzero(np.diff(counts.indptr) > limit):
        chosen = np.argsort(score[row].toarray()[0])[::-1][:limit]
        entries = slice(counts.indptr[row], counts.indptr[row + 1])
        keep[entries] = np.isin(counts.indices[entries], chosen)
    return _select(counts, keep)


def _kth_smallest(keys: NDArray[Any], indptr: NDArray[np.integer], k: NDArray[np.integer]) -> NDArray[Any]:
    """The k-th smallest key of each compressed row (the largest where it has fewer; 0 where it is empty).

    Rows of like length are padded and sorted together: far faster than one sort of everything by row and key.
    """
    lengths = np.diff(indptr)
    found = np.zeros(lengths.size, dtype=keys.dtype)
    rows = np.argsort(lengths, kind="stable")
    rows = rows[lengths[rows] > 0]
    while rows.size:
        width = lengths[rows[-1]]
        block, rows = np.split(rows, [max(0, rows.size - max(1, SORT_BLOCK // width))])[::-1]
        column = np.arange(width)
        index = np.minimum(indptr[block][:, None] + column, keys.size - 1)
        padded = np.where(column < lengths[block][:, None], keys[index], keys.max())
        padded.sort(axis=1)
        found[block] = padded[np.arange(block.size), np.clip(k[block], 1, lengths[block]) - 1]
    return found


def pair_hash(row: NDArray[np.integer], column: NDArray[np.integer]) -> NDArray[np.uint64]:
    """A fixed mixing of two numbers into 64 bits (the finaliser of SplitMix64), equal on every machine."""
    mixed = row.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + column.astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def receiving(kept: csr_matrix) -> csr_matrix:
    """D^-1/2 Aᵀ D^-1/2 with D the row sums of A [N, N]: node i receives from the nodes that picked i.

    After the cut to the most similar A is not symmetric any more; an empty row counts as 0.
    """
    degree = np.asarray(kept.sum(1)).ravel()
    scale = np.zeros_like(degree)
    np.power(degree, -0.5, where=degree > 0, out=scale)
    received = (diags(scale) @ kept.T @ diags(scale)).tocsr()
    received.sort_indices()
    return received


def masked_copy(kept: csr_matrix, rate: float, generator: np.random.Generator) -> csr_matrix:
    """A second picture of a meta-path graph [N, N]: a share `rate` of its directed entries dropped, values lost.

    The diagonal goes first, each direction of an edge is drawn by itself, the entries left weigh 1, and every node
    gets a loop.
    """
    off_diagonal = np.flatnonzero(_rows(kept) != kept.indices)
    dropped = generator.choice(off_diagonal, int(off_diagonal.size * rate), replace=False)
    keep = np.zeros(kept.nnz, dtype=bool)
    keep[off_diagonal] = True
    keep[dropped] = False
    left = _select(kept, keep)
    left.data = np.ones_like(left.data)
    return (left + eye(*kept.shape, format="csr")).tocsr()


def mean_graph(graphs: list[csr_matrix]) -> csr_matrix:
    """The coarse view: the plain mean of normalised meta-path graphs."""
    total = sum(graphs[1:], start=graphs[0]) / len(graphs)
    total.sort_indices()
    return total


def _rows(matrix: csr_matrix) -> NDArray[np.integer]:
    lengths = np.diff(matrix.indptr)
    return np.repeat(np.arange(matrix.shape[0], dtype=matrix.indices.dtype), lengths)


def _select(matrix: csr_matrix, keep: NDArray[np.bool_]) -> csr_matrix:
    kept_before = np.concatenate([[0], np.cumsum(keep)])
    return csr_matrix((matrix.data[keep], matrix.indices[keep], kept_before[matrix.indptr]), shape=matrix.shape)
