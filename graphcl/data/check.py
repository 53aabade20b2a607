"""What a heterogeneous graph must be before a model reads it, whether it comes from a file or from Python."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphcl.errors import InputError

PARTS = "train", "val", "test"


def check(data: Any, where: str) -> None:
    """Raise `InputError` where types, edges, features, labels or splits are not as `graphcl.data.hetero` says."""
    if not isinstance(data, HeteroData):
        raise InputError(
            f"{where}: must be a HeteroData with a target_type, not a {type(data).__name__}, which only the classes "
            "GRACE and DGI take; give its nodes a type: data['node'].x, data['node', 'to', 'node'].edge_index, "
            "data.target_type = 'node'."
        )
    if "target_type" not in data:
        raise InputError(
            f"{where}: set data.target_type to the node type to embed, one of {', '.join(data.node_types)}."
        )
    target = data.target_type
    if target not in data.node_types:
        raise InputError(f"{where}: the target {target!r} is none of {', '.join(data.node_types)}.")
    check_names(data.node_types, where)
    counts = {name: _count(data, name, where) for name in data.node_types}
    if not counts[target]:
        raise InputError(f"{where}: the target {target!r} has no nodes; there is nothing to embed.")
    for edge_type in data.edge_types:
        _check_edges(data, edge_type, counts, where)
    for name, count in counts.items():
        _check_features(data, name, count, where)
    _check_labels(data[target], counts[target], where)
    _check_positives(data[target].get("positives"), counts[target], where)


def check_names(names: Iterable[str], where: str) -> None:
    """Raise `InputError` where a meta-path could not name a node type: it is written with hyphens and brackets."""
    for name in names:
        if set(name) & set("-()"):
            plain = name.translate(str.maketrans("-()", "___"))
            raise InputError(
                f"{where}: the node type {name!r} has a hyphen or a bracket in its name, which meta-paths are written "
                f"with; rename it, such as {plain!r}."
            )


def _count(data: HeteroData, name: str, where: str) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyG's, that it cannot infer the number; the error below says so
        count = data[name].num_nodes
    if count is None:
        raise InputError(f"{where}: how many nodes the type {name!r} has is not said; set data[{name!r}].num_nodes.")
    return int(count)


def _check_edges(data: HeteroData, edge_type: tuple[str, str, str], counts: Mapping[str, int], where: str) -> None:
    source, _, destination = edge_type
    between = f"from {source!r} to {destination!r}"
    for name in (source, destination):
        if name not in counts:
            raise InputError(f"{where}: edges {between}, but {name!r} is no node type; set data[{name!r}].num_nodes.")
    edge_index = data[edge_type].get("edge_index")
    if not _whole_numbers(edge_index, 2) or len(edge_index) != 2:
        raise InputError(f"{where}: the edges {between} must be an edge_index [2, E] of whole numbers.")
    for name, index in ((source, edge_index[0]), (destination, edge_index[1])):
        for wrong in outside(index, counts[name]):
            raise InputError(
                f"{where}: an edge {between} names {name!r} node {wrong}, but they are numbered 0..{counts[name] - 1}."
            )


def _check_features(data: HeteroData, name: str, count: int, where: str) -> None:
    x = data[name].get("x")
    if x is None:
        return
    if not isinstance(x, Tensor) or x.dim() != 2:
        raise InputError(f"{where}: the features x of {name!r} must be a tensor [N, F], a row for each node.")
    if len(x) != count:
        raise InputError(f"{where}: {name!r} has {count} nodes but {len(x)} rows of features.")


def _check_labels(store: Any, count: int, where: str) -> None:
    y, splits = store.get("y"), store.get("splits", {})
    if y is not None and (not _whole_numbers(y, 1) or len(y) != count):
        got = f"{y.dtype} of shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise InputError(
            f"{where}: the labels are {got}, the target {count} nodes; give each the whole number of its class, or -1."
        )
    if not isinstance(splits, Mapping):
        raise InputError(f"{where}: splits must be a dictionary {{labels per class: (train, val, test)}}.")
    for per_class, parts in splits.items():
        _check_split(parts, y, count, f"{where}: the split {per_class}")


def _check_split(parts: Any, y: Tensor | None, count: int, split: str) -> None:
    if not isinstance(parts, tuple | list) or len(parts) != len(PARTS) or not all(_whole_numbers(p, 1) for p in parts):
        raise InputError(f"{split} must be three tensors of node numbers, for train, val and test.")
    for name, part in zip(PARTS, parts, strict=True):
        if not len(part):
            raise InputError(f"{split} has no {name} nodes; a probe needs some of train, val and test.")
        for wrong in outside(part, count):
            raise InputError(f"{split} names {name} node {wrong}, but those of the target are numbered 0..{count - 1}.")
        if y is not None and (y[part] < 0).any():
            raise InputError(
                f"{split} names {name} node {int(part[y[part] < 0][0])}, which has no label; leave it out."
            )
    train, valid, test = parts
    shared = test[torch.isin(test, torch.cat([train, valid]))]
    if len(shared):
        raise InputError(f"{split} has node {int(shared[0])} in test and in train or val; keep test nodes out of both.")


def _check_positives(pairs: Any, count: int, where: str) -> None:
    if pairs is None:
        return
    if not _whole_numbers(pairs, 2) or len(pairs) != 2:
        raise InputError(f"{where}: the positives of the target must be pairs [2, E] of whole numbers.")
    for wrong in outside(pairs, count):
        raise InputError(f"{where}: the positives name node {wrong}, but the target's are numbered 0..{count - 1}.")


def _whole_numbers(value: Any, dimensions: int) -> bool:
    """Whether it is a tensor of integers of so many dimensions; a mask is none."""
    return (
        isinstance(value, Tensor)
        and value.dim() == dimensions
        and not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    )


def outside(index: Tensor, count: int) -> list[int]:
    """The number that is farthest from 0..count - 1; nothing where all are inside."""
    if not index.numel():
        return []
    low, high = int(index.min()), int(index.max())
    return [high] if high >= count else [low] if low < 0 else []
