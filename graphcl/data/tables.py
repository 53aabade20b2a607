"""Heterogeneous graphs from a folder of Parquet tables; the layout is described in `graphcl.data.hetero`."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphcl.data.check import PARTS, check, check_names
from graphcl.errors import InputError


def read_tables(folder: Path, target: str | None) -> HeteroData:
    """Read `nodes_<t>.parquet` and `edges_<a>-<b>.parquet` of `folder`."""
    data, numbers, labelled = HeteroData(), {}, []
    for path in sorted(folder.glob("nodes_*.parquet")):
        name = path.stem.removeprefix("nodes_")
        table = _read(path)
        numbers[name] = _numbers(table, path)
        _fill_nodes(data[name], table, path)
        if "label" in table:
            labelled.append(name)
    if not numbers:
        raise InputError(f"{folder}: no nodes_<type>.parquet in it; see graphcl.data.hetero for the layout.")
    check_names(numbers, str(folder))
    for path in sorted(folder.glob("edges_*.parquet")):
        source, _, destination = path.stem.removeprefix("edges_").partition("-")
        for name in (source, destination):
            if name not in numbers:
                raise InputError(f"{path}: there is no nodes_{name}.parquet beside it; name the file edges_<a>-<b>.")
        table = _read(path)
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


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error}); write the file again.") from error


def _numbers(table: pd.DataFrame, path: Path) -> pd.Index:
    if "id" not in table:
        raise InputError(f"{path}: the column 'id' is missing; it has {', '.join(map(str, table.columns))}.")
    index = pd.Index(table["id"])
    if index.has_duplicates:
        raise InputError(f"{path}: the id {index[index.duplicated()].tolist()[0]!r} occurs twice; ids must be unique.")
    return index


def _fill_nodes(store: Any, table: pd.DataFrame, path: Path) -> None:
    store.num_nodes = len(table)
    splits = {int(found[1]): name for name in table if (found := re.fullmatch(r"split_(\d+)", str(name)))}
    others = table.drop(columns=["id", "label", *splits.values()], errors="ignore")
    features = others.select_dtypes("number")
    if features.shape[1]:
        store.x = torch.from_numpy(features.to_numpy(np.float32))
    if "label" in table:
        codes, classes = pd.factorize(table["label"], sort=True)
        store.y, store.classes = torch.from_numpy(codes.astype(np.int64)), [str(name) for name in classes]
    if splits:
        store.splits = {count: _parts(table[splits[count]], path) for count in sorted(splits)}


def _parts(column: pd.Series, path: Path) -> tuple[Tensor, ...]:
    """The numbers of the nodes that a column puts into each part of a split."""
    given = column.astype(object).where(column.notna(), "")
    wrong = np.flatnonzero(~given.isin([*PARTS, ""]))
    if wrong.size:
        raise InputError(
            f"{path}: row {wrong[0]}, column {column.name!r}: {given.tolist()[wrong[0]]!r} is no part of a split; "
            f"write {', '.join(PARTS)}, or nothing."
        )
    return tuple(torch.from_numpy(np.flatnonzero(given == part)) for part in PARTS)


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
