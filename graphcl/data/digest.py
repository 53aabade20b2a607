"""The identity of a heterogeneous graph."""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphcl.data.check import PARTS


def graph_digest(data: HeteroData) -> str:
    """Sixteen digits that tell graphs apart: by target, node counts, edges, features, labels, splits and positives.

    The order of the types does not count, that of nodes and edges does.
    """
    state, target = hashlib.sha256(f"target {data.target_type}".encode()), data[data.target_type]
    for name in sorted(data.node_types):
        state.update(f"nodes {name} {data[name].num_nodes}".encode())
        if "x" in data[name]:
            _add(state, "x", data[name].x)
    for key in ("y", "positives"):
        if key in target:
            _add(state, key, target[key])
    for count, parts in sorted(target.get("splits", {}).items(), key=str):
        for name, part in zip(PARTS, parts, strict=True):
            _add(state, f"{name} {count}", part)
    for edge_type in sorted(data.edge_types):
        _add(state, f"edges {edge_type}", data[edge_type].edge_index)
    return state.hexdigest()[:16]


def _add(state: Any, name: str, tensor: Tensor) -> None:
    state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.layout}".encode())
    if tensor.layout != torch.strided:
        tensor = tensor.to_sparse_coo().coalesce()
        _add(state, "indices", tensor.indices())
        tensor = tensor.values()
    state.update(np.ascontiguousarray(tensor.detach().cpu().numpy()))
