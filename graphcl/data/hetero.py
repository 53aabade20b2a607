"""Heterogeneous graphs from a file: an `.npz` archive or a folder of Parquet tables, read into PyG `HeteroData`.

**Archive** (`graph.npz`), arrays by name:

| key | content |
|---|---|
| `node_types`, `num_nodes` | names of the node types, and how many nodes each has |
| `target_type` | the type whose nodes are embedded and judged |
| `edge_<a>-<b>` | [2, E] integers, numbers of an `a` node and of a `b` node, or a matrix [A, B] in parts (below) |
| `feat_<t>` | [N, F] numbers, or in parts. Optional |
| `labels` | [N] integers, classes of the target nodes; -1 where unknown. Optional |
| `train_<k>`, `val_<k>`, `test_<k>` | numbers of target nodes, one triple per count `k` of labels per class. Optional |

A matrix in parts is in compressed rows: `<key>/indptr`, `<key>/indices`, `<key>/shape` and, unless all values are 1,
`<key>/data`. Between one-letter names the hyphen of an edge may go: `edge_pa`.

**Folder**, one table each: `nodes_<t>.parquet` with a column `id` (any values, unique), optionally `label` on the
target type, and numeric columns, which are its features; `edges_<a>-<b>.parquet` with columns `source` and `target`
that hold ids.

In the result `data[t].x` is a dense [N, F] tensor, a sparse COO tensor, or absent (the type has no features);
`data[a, "to", b].edge_index` are the edges; `data.target_type` names the target, whose store may hold `y` [N] and
`splits`, a dictionary `{k: (train, valid, test)}` of node numbers.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphcl.errors import InputError


def load_graph(path: Path | str, *, names: Mapping[str, str] | None = None, target: str | None = None) -> HeteroData:
    """Read a heterogeneous graph.

    Args:
        path: an `.npz` archive, or a folder of Parquet tables.
        names: longer names for the node types of an archive, such as `{"p": "paper"}`.
        target: the type to embed; by default what the archive says, or the only table with a column `label`.

    Raises:
        InputError: a file, a key or a column is missing, or an edge names a node that does not exist.
    """
    path = Path(path)
    if path.is_dir():
        from graphcl.data.tables import read_tables

        if names:
            raise InputError(f"{path}: names are for archives; the node types of a folder are named by its files.")
        return read_tables(path, target)
    if not path.is_file():
        raise InputError(f"{path}: no such graph; give an .npz archive or a folder of Parquet tables.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (OSError, ValueError, TypeError, BadZipFile) as error:
        raise InputError(f"{path}: not a readable .npz archive of plain arrays ({error}).") from error
    return from_arrays(arrays, names=names, target=target, where=str(path))


def from_arrays(
    arrays: Mapping[str, Any],
    *,
    names: Mapping[str, str] | None = None,
    target: str | None = None,
    where: str = "graph",
) -> HeteroData:
    """The graph of arrays in the layout of an archive (see the module)."""
    for key in ("node_types", "num_nodes"):
        if key not in arrays:
            raise InputError(f"{where}: the array {key!r} is missing; it lists the node types (or how many of each).")
    short = [str(name) for name in arrays["node_types"]]
    if len(arrays["num_nodes"]) != len(short):
        raise InputError(f"{where}: 'num_nodes' must count the nodes of each of the types {', '.join(short)}.")
    unknown = set(names or {}) - set(short)
    if unknown:
        raise InputError(f"{where}: names: {min(unknown)!r} is no node type; the types are {', '.join(short)}.")
    names = {name: name for name in short} | dict(names or {})
    data = HeteroData()
    for name, count in zip(short, arrays["num_nodes"], strict=True):
        data[names[name]].num_nodes = int(count)
        features = _matrix(arrays, f"feat_{name}")
        if features is not None:
            data[names[name]].x = _tensor(features)
    for key in sorted({key.split("/")[0] for key in arrays if key.startswith("edge_")}):
        source, destination = _ends(key, short, where)
        data[names[source], "to", names[destination]].edge_index = _edges(arrays, key, where)
    if target is None and "target_type" not in arrays:
        raise InputError(f"{where}: say which node type to embed, by the array 'target_type' or by target=.")
    given = target or str(arrays["target_type"])
    data.target_type = names.get(given, given)
    check(data, where)
    _add_labels(data[data.target_type], arrays, where)
    return data


def check(data: HeteroData, where: str) -> None:
    """Raise `InputError` where an edge or a feature table does not fit the nodes."""
    if data.target_type not in data.node_types:
        raise InputError(f"{where}: the target {data.target_type!r} is none of {', '.join(data.node_types)}.")
    for source, relation, destination in data.edge_types:
        edge_index = data[source, relation, destination].edge_index
        for name, index in ((source, edge_index[0]), (destination, edge_index[1])):
            count = data[name].num_nodes
            if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < count:
                wrong = int(index.max() if index.max() >= count else index.min())
                raise InputError(
                    f"{where}: an edge from {source!r} to {destination!r} names {name!r} node {wrong}, "
                    f"but they are numbered 0..{count - 1}."
                )
    for name in data.node_types:
        if "x" in data[name] and data[name].x.shape[0] != data[name].num_nodes:
            raise InputError(
                f"{where}: {name!r} has {data[name].num_nodes} nodes but {data[name].x.shape[0]} rows of features."
            )


def scipy_features(data: HeteroData, node_type: str) -> sp.csr_matrix | np.ndarray | None:
    """The features of a type as a scipy matrix or a numpy array; None where it has none."""
    if "x" not in data[node_type]:
        return None
    x: Tensor = data[node_type].x
    if x.layout == torch.strided:
        return x.numpy()
    x = x.to_sparse_coo().coalesce()
    return sp.csr_matrix((x.values().numpy(), x.indices().numpy()), shape=tuple(x.shape))


def with_features(data: HeteroData, node_type: str, features: sp.spmatrix | np.ndarray) -> HeteroData:
    """Give a type features [N, F]; returns `data`."""
    data[node_type].x = _tensor(features)
    return data


def row_normalized(features: sp.csr_matrix | np.ndarray) -> sp.csr_matrix | np.ndarray:
    """Each row over its sum; a row of sum 0 stays as it is."""
    total = np.asarray(features.sum(1)).ravel()
    scale = np.divide(1.0, total, out=np.ones_like(total, dtype=np.float64), where=total != 0)
    if sp.issparse(features):
        return (sp.diags(scale) @ features).tocsr()
    return features * scale[:, None]


def _ends(key: str, short: list[str], where: str) -> tuple[str, str]:
    body = key.removeprefix("edge_")
    ends = tuple(body.split("-")) if "-" in body else tuple(body)
    if len(ends) != 2 or not set(ends) <= set(short):
        raise InputError(f"{where}: {key!r} should read edge_<a>-<b> with two of the node types {', '.join(short)}.")
    return ends[0], ends[1]


def _matrix(arrays: Mapping[str, Any], key: str) -> sp.csr_matrix | np.ndarray | None:
    if key in arrays:
        return np.asarray(arrays[key])
    if f"{key}/indptr" not in arrays:
        return None
    indices = arrays[f"{key}/indices"].astype(np.int32)
    values = arrays.get(f"{key}/data", np.ones(indices.size)).astype(np.float64)
    return sp.csr_matrix((values, indices, arrays[f"{key}/indptr"]), shape=tuple(arrays[f"{key}/shape"]))


def _edges(arrays: Mapping[str, Any], key: str, where: str) -> Tensor:
    matrix: Any = _matrix(arrays, key)
    if sp.issparse(matrix):
        matrix = np.stack(matrix.tocoo().coords)
    if matrix.ndim != 2 or len(matrix) != 2:
        raise InputError(f"{where}: {key!r} should be [2, E] node numbers or a matrix in parts, not {matrix.shape}.")
    return torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.int64))


def _tensor(features: sp.spmatrix | np.ndarray) -> Tensor:
    if not sp.issparse(features):
        return torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
    matrix = sp.coo_matrix(features)
    index = torch.from_numpy(np.stack([matrix.row, matrix.col]).astype(np.int64))
    value = torch.from_numpy(matrix.data).float()
    return torch.sparse_coo_tensor(index, value, tuple(matrix.shape), check_invariants=True).coalesce()


def _add_labels(store: Any, arrays: Mapping[str, Any], where: str) -> None:
    if "labels" in arrays:
        if arrays["labels"].shape != (store.num_nodes,):
            raise InputError(
                f"{where}: 'labels' has shape {arrays['labels'].shape}, the target {store.num_nodes} nodes; "
                "give each a class, or -1."
            )
        store.y = torch.from_numpy(arrays["labels"].astype(np.int64))
    counts = sorted(int(key.removeprefix("train_")) for key in arrays if re.fullmatch(r"train_\d+", key))
    if counts:
        store.splits = {
            count: tuple(_nodes(arrays, f"{part}_{count}", store.num_nodes, where) for part in ("train", "val", "test"))
            for count in counts
        }


def _nodes(arrays: Mapping[str, Any], key: str, num_nodes: int, where: str) -> Tensor:
    if key not in arrays:
        raise InputError(f"{where}: the array {key!r} is missing; a split has a train_, a val_ and a test_ part.")
    nodes = torch.from_numpy(arrays[key].astype(np.int64))
    if len(nodes) and not 0 <= int(nodes.min()) <= int(nodes.max()) < num_nodes:
        raise InputError(f"{where}: {key!r} names nodes outside 0..{num_nodes - 1}, the target's.")
    return nodes
