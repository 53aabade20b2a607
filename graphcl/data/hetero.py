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
`<key>/data`. Between one-letter names the hyphen of an edge may go: `edge_pa`. Other arrays are refused.

**Folder**, one table each: `nodes_<t>.parquet` with a column `id` (any values, unique), optionally `label` on the
target type (empty where unknown), optionally `split_<k>` there, which says for `k` labels per class what a node is for
(`train`, `val`, `test`, or empty), and numeric columns, which are its features; `edges_<a>-<b>.parquet` with columns
`source` and `target` that hold ids.

Names of node types have no hyphens or brackets, which meta-paths are written with. No node of a test part is in the
train or the val part of its split.

In the result `data[t].x` is a dense [N, F] tensor, a sparse COO tensor, or absent (the type has no features);
`data[a, "to", b].edge_index` are the edges; `data.target_type` names the target, whose store may hold `y` [N] and
`splits`, a dictionary `{k: (train, valid, test)}` of node numbers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphcl.data import arrays as arrays_of
from graphcl.data.check import check, check_names
from graphcl.errors import InputError


def load_graph(path: Path | str, *, names: Mapping[str, str] | None = None, target: str | None = None) -> HeteroData:
    """Read a heterogeneous graph.

    Args:
        path: an `.npz` archive, or a folder of Parquet tables.
        names: longer names for the node types of an archive, such as `{"p": "paper"}`.
        target: the type to embed; by default what the archive says, or the only table with a column `label`.

    Raises:
        InputError: a file, a key or a column is missing or holds another thing, or parts of the graph do not fit.
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
    counts = arrays_of.node_counts(arrays, where)
    short = list(counts)
    check_names(short, where)
    arrays_of.refuse_unknown(arrays, short, where)
    names = _long_names(short, names or {}, where)
    data = HeteroData()
    for name, count in counts.items():
        data[names[name]].num_nodes = count
        features = arrays_of.features(arrays, f"feat_{name}", where)
        if features is not None:
            with_features(data, names[name], features)
    for key in sorted({key.split("/")[0] for key in arrays if key.startswith("edge_")}):
        source, destination = _ends(key, short, where)
        edges = arrays_of.edges(arrays, key, where)
        data[names[source], "to", names[destination]].edge_index = torch.from_numpy(np.ascontiguousarray(edges))
    if target is None and "target_type" not in arrays:
        raise InputError(f"{where}: say which node type to embed, by the array 'target_type' or by target=.")
    given = target or str(arrays["target_type"])
    data.target_type = names.get(given, given)
    if data.target_type in data.node_types:  # else PyG would make the type; `check` refuses it
        _add_labels(data[data.target_type], arrays, where)
    check(data, where)
    return data


def scipy_features(data: HeteroData, node_type: str) -> sp.csr_matrix | np.ndarray | None:
    """The features of a type as a scipy matrix or a numpy array; None where it has none."""
    if "x" not in data[node_type]:
        return None
    x: Tensor = data[node_type].x
    if x.layout == torch.strided:
        return numpy_array(x)
    x = x.to_sparse_coo().coalesce()
    return sp.csr_matrix((numpy_array(x.values()), numpy_array(x.indices())), shape=tuple(x.shape))


def numpy_array(x: Tensor) -> np.ndarray:
    """The values of a tensor, wherever it lies and whatever gradient it wants; half precision becomes float32."""
    x = x.detach().cpu()
    return (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).numpy()


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


def _long_names(short: list[str], names: Mapping[str, str], where: str) -> dict[str, str]:
    unknown = set(names) - set(short)
    if unknown:
        raise InputError(f"{where}: names: {min(unknown)!r} is no node type; the types are {', '.join(short)}.")
    long = {name: name for name in short} | dict(names)
    if len(set(long.values())) < len(long):
        raise InputError(f"{where}: names: two node types get the same name; the types are {', '.join(long.values())}.")
    return long


def _ends(key: str, short: list[str], where: str) -> tuple[str, str]:
    body = key.removeprefix("edge_")
    ends = tuple(body.split("-")) if "-" in body else tuple(body)
    if len(ends) != 2 or not set(ends) <= set(short):
        raise InputError(f"{where}: {key!r} should read edge_<a>-<b> with two of the node types {', '.join(short)}.")
    return ends[0], ends[1]


def _tensor(features: sp.spmatrix | np.ndarray) -> Tensor:
    if not sp.issparse(features):
        return torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
    matrix = sp.coo_matrix(features)
    index = torch.from_numpy(np.stack([matrix.row, matrix.col]).astype(np.int64))
    value = torch.from_numpy(matrix.data).float()
    return torch.sparse_coo_tensor(index, value, tuple(matrix.shape), check_invariants=True).coalesce()


def _add_labels(store: Any, arrays: Mapping[str, Any], where: str) -> None:
    if "labels" in arrays:
        store.y = torch.from_numpy(arrays_of.whole(arrays, "labels", where))
    splits = arrays_of.splits(arrays, where)
    if splits:
        store.splits = {count: tuple(map(torch.from_numpy, parts)) for count, parts in splits.items()}
