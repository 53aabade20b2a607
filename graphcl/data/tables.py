"""Heterogeneous graphs from a folder of Parquet tables; the layout is described in `graphcl.data.hetero`."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch_geometric.data import HeteroData

from graphcl.data.hetero import check
from graphcl.errors import InputError


def read_tables(folder: Path, target: str | None) -> HeteroData:
    """Read `nodes_<t>.parquet` and `edges_<a>-<b>.parquet` of `folder`."""
    data, numbers, labelled = HeteroData(), {}, []
    for path in sorted(folder.glob("nodes_*.parquet")):
        name = path.stem.removeprefix("nodes_")
        table = pd.read_parquet(path)
        numbers[name] = _numbers(table, path)
        _fill_nodes(data[name], table)
        if "label" in table:
            labelled.append(name)
    if not numbers:
        raise InputError(f"{folder}: no nodes_<type>.parquet in it; see graphcl.data.hetero for the layout.")
    for path in sorted(folder.glob("edges_*.parquet")):
        source, _, destination = path.stem.removeprefix("edges_").partition("-")
        for name in (source, destination):
            if name not in numbers:
                raise InputError(f"{path}: there is no nodes_{name}.parquet beside it; name the file edges_<a>-<b>.")
        table = pd.read_parquet(path)
        ends = [
            _lookup(table, path, column, numbers[name])
            for column, name in (("source", source), ("target", destination))
        ]
        data[source, "to", destination].edge_index = torch.from_numpy(np.stack(ends))
    if target is None and len(labelled) != 1:
        raise InputError(f"{folder}: say which node type is the target; types with a column 'label': {labelled}.")
    data.target_type = target or labelled[0]
    check(data, str(folder))
    return data


def _numbers(table: pd.DataFrame, path: Path) -> pd.Index:
    if "id" not in table:
        raise InputError(f"{path}: the column 'id' is missing; it has {', '.join(map(str, table.columns))}.")
    index = pd.Index(table["id"])
    if index.has_duplicates:
        raise InputError(f"{path}: the id {index[index.duplicated()].tolist()[0]!r} occurs twice; ids must be unique.")
    return index


def _fill_nodes(store: Any, table: pd.DataFrame) -> None:
    store.num_nodes = len(table)
    features = table.drop(columns=["id", "label"], errors="ignore").select_dtypes("number")
    if features.shape[1]:
        store.x = torch.from_numpy(features.to_numpy(np.float32))
    if "label" in table:
        codes, classes = pd.factorize(table["label"], sort=True)
        store.y, store.classes = torch.from_numpy(codes.astype(np.int64)), [str(name) for name in classes]


def _lookup(table: pd.DataFrame, path: Path, column: str, index: pd.Index) -> np.ndarray:
    if column not in table:
        raise InputError(f"{path}: the column {column!r} is missing; an edge table has 'source' and 'target'.")
    numbers = index.get_indexer(pd.Index(table[column]))
    unknown = np.flatnonzero(numbers < 0)
    if unknown.size:
        raise InputError(
            f"{path}: row {unknown[0]}, column {column!r}: no node has the id {table[column].tolist()[unknown[0]]!r}."
        )
    return numbers.astype(np.int64)
