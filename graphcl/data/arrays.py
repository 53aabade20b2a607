"""The arrays of an archive, read and checked one by one; `graphcl.data.hetero` describes the layout."""

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from graphcl.data.check import PARTS as PARTS_OF_SPLITS
from graphcl.errors import InputError, suggest

Arrays = Mapping[str, Any]
SPLIT = re.compile(rf"({'|'.join(PARTS_OF_SPLITS)})_(\d+)")
"""The name of one part of a split."""
PARTS = "indptr", "indices", "shape", "data"
"""Of a matrix; the last may be missing."""


def refuse_unknown(arrays: Arrays, types: Sequence[str], where: str) -> None:
    """Raise `InputError` for an array that nothing would read, such as a misspelt one."""
    counts = {found[1] for key in arrays if (found := re.search(r"_(\d+)$", key))}
    features = [f"feat_{name}" for name in types]
    known = ["node_types", "num_nodes", "target_type", "labels", *features]
    known += [f"{part}_{count}" for part, count in product(PARTS_OF_SPLITS, sorted(counts))]
    allowed = {*known, *(f"{feature}/{part}" for feature, part in product(features, PARTS))}
    for key in arrays:
        # Edges are looked up by their ends; what is wrong with those is said there.
        if key in allowed or re.fullmatch(rf"edge_[^/]*(/({'|'.join(PARTS)}))?", key):
            continue
        near = suggest(key, [*sorted(allowed), *(f"edge_{a}-{b}" for a, b in product(types, types))], quiet=True)
        hint = near or f"; leave it out; known: {', '.join(known)}, edge_<a>-<b>."
        raise InputError(f"{where}: the array {key!r} is unknown{hint}")


def node_counts(arrays: Arrays, where: str) -> dict[str, int]:
    """How many nodes each type has."""
    for key in ("node_types", "num_nodes"):
        if key not in arrays:
            raise InputError(f"{where}: the array {key!r} is missing; it lists the node types (or how many of each).")
    types = np.asarray(arrays["node_types"])
    names = [str(name) for name in types.reshape(-1)]
    if types.ndim != 1 or len(set(names)) < len(names):
        raise InputError(f"{where}: 'node_types' must be a list of different names, not {types.tolist()!r}.")
    counts = whole(arrays, "num_nodes", where)
    if counts.shape != types.shape or (counts < 0).any():
        raise InputError(f"{where}: 'num_nodes' must count the nodes of each of the types {', '.join(names)}.")
    return dict(zip(names, counts.tolist(), strict=True))


def whole(arrays: Arrays, key: str, where: str) -> NDArray[np.int64]:
    """An array of whole numbers; floating point will do where nothing stands behind the point."""
    array = np.asarray(arrays[key])
    if array.dtype.kind not in "iuf":
        raise InputError(f"{where}: {key!r} must hold whole numbers, not {_kind(array)}.")
    if array.dtype.kind == "f":
        others = array[~np.isfinite(array) | (array != np.floor(array))]
        if others.size:
            raise InputError(f"{where}: {key!r} must hold whole numbers, not {others[0]}.")
    return array.astype(np.int64)


def matrix(arrays: Arrays, key: str, where: str) -> sp.csr_matrix | NDArray[Any] | None:
    """The array `key`, or the matrix that stands there in parts; None where there is neither."""
    if key in arrays:
        return np.asarray(arrays[key])
    given = [part for part in PARTS if f"{key}/{part}" in arrays]
    if not given:
        return None
    for part in PARTS[:3]:
        if part not in given:
            raise InputError(f"{where}: the array '{key}/{part}' is missing; {key!r} has {', '.join(given)}.")
    indptr, indices, shape = (whole(arrays, f"{key}/{part}", where) for part in PARTS[:3])
    values = numbers(arrays[f"{key}/data"], f"{key}/data", where) if "data" in given else np.ones(indices.size)
    try:
        found = sp.csr_matrix((values.astype(np.float64), indices, indptr), shape=tuple(shape.tolist()))
        found.check_format()
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"{where}: {key!r} is no matrix in compressed rows ({error}).") from error
    return found


def numbers(array: Any, key: str, where: str) -> NDArray[Any]:
    """An array of numbers."""
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{where}: {key!r} must hold numbers, not {_kind(array)}.")
    return array


def features(arrays: Arrays, key: str, where: str) -> sp.csr_matrix | NDArray[Any] | None:
    """A feature table [N, F]; None where there is none."""
    table = matrix(arrays, key, where)
    if table is None or sp.issparse(table):
        return table
    if numbers(table, key, where).ndim != 2:
        raise InputError(f"{where}: {key!r} must be [N, F], a row for each node, not of shape {table.shape}.")
    return table


def edges(arrays: Arrays, key: str, where: str) -> NDArray[np.int64]:
    """Edges [2, E]."""
    found: Any = matrix(arrays, key, where)
    found = np.stack(found.tocoo().coords).astype(np.int64) if sp.issparse(found) else whole(arrays, key, where)
    if found.ndim != 2 or len(found) != 2:
        raise InputError(f"{where}: {key!r} should be [2, E] node numbers or a matrix in parts, not {found.shape}.")
    return found


def splits(arrays: Arrays, where: str) -> dict[int, tuple[NDArray[np.int64], ...]]:
    """The parts of each split, by the count of labels per class."""
    counts = sorted({int(found[2]) for key in arrays if (found := SPLIT.fullmatch(key))})
    for key in (f"{part}_{count}" for count, part in product(counts, PARTS_OF_SPLITS)):
        if key not in arrays:
            raise InputError(f"{where}: the array {key!r} is missing; a split has a train_, a val_ and a test_ part.")
    return {count: tuple(whole(arrays, f"{part}_{count}", where) for part in PARTS_OF_SPLITS) for count in counts}


def _kind(array: NDArray[Any]) -> str:
    return {"U": "text", "S": "text", "b": "truth values"}.get(array.dtype.kind, str(array.dtype))
