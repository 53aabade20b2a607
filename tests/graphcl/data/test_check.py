"""Graphs made in Python: each way in which they do not fit is one sentence, and each change is another digest."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData

from graphcl.data.check import check
from graphcl.data.digest import graph_digest
from graphcl.errors import InputError

BY = "paper", "by", "author"


def graph() -> HeteroData:
    """Four papers, of which three are labelled and split; authors have neither features nor a stated number of them."""
    data = HeteroData()
    data.target_type = "paper"
    data["paper"].x = torch.arange(8.0).reshape(4, 2)
    data["paper"].y = torch.tensor([0, 1, 0, -1])
    data["paper"].splits = {20: tuple(torch.tensor([node]) for node in range(3))}
    data["author"].num_nodes = 2
    data[BY].edge_index = torch.tensor([[0, 1, 3], [0, 1, 1]])
    return data


def put(place: object, key: str, value: object) -> Callable[[HeteroData], None]:
    """A change of one attribute."""
    return lambda data: setattr(data[place], key, value)


def split(*parts: object) -> Callable[[HeteroData], None]:
    """Other parts of the split."""
    return put("paper", "splits", {20: tuple(torch.tensor(part) for part in parts)})


def test_a_graph_that_fits_passes_and_stays_as_it_was() -> None:
    data = graph()
    check(data, "graph")
    assert str(data) == str(graph())
    for key in ("x", "y", "splits"):
        del data["paper"][key]
    data["paper"].num_nodes = 4
    check(data, "graph")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(BY, "edge_index", torch.tensor([[0, 4], [0, 0]])), "names 'paper' node 4, but they are numbered 0..3"),
        (put(BY, "edge_index", torch.tensor([[0, -1], [0, 0]])), "names 'paper' node -1, but they are numbered 0..3"),
        (put(BY, "edge_index", torch.zeros(3, 2).long()), r"must be an edge_index \[2, E\] of whole numbers"),
        (put(BY, "edge_index", torch.zeros(2, 3)), r"must be an edge_index \[2, E\] of whole numbers"),
        (put(("paper", "in", "venue"), "edge_index", torch.zeros(2, 1).long()), "'venue' is no node type; set data"),
        (put(("paper", "of", "author"), "weight", torch.ones(1)), "'paper' to 'author' must be an edge_index"),
        (put("venue", "name", "somewhere"), r"the type 'venue' has is not said; set data\['venue'\].num_nodes"),
        (put("co-author", "num_nodes", 1), "'co-author' has a hyphen"),
        (put("paper", "num_nodes", 5), "'paper' has 5 nodes but 4 rows of features"),
        (put("author", "x", torch.ones(2)), r"features x of 'author' must be a tensor \[N, F\]"),
        (put("author", "x", np.ones((2, 3))), r"features x of 'author' must be a tensor \[N, F\]"),
        (put("paper", "y", torch.tensor([0, 1])), r"labels are torch.int64 of shape \(2,\), the target 4 nodes"),
        (put("paper", "y", torch.tensor([0.0, 1, 0, 1])), "labels are torch.float32"),
        (put("paper", "y", [0, 1, 0, 1]), "labels are list"),
        (put("paper", "positives", torch.zeros(3, 3).long()), r"positives of the target must be pairs \[2, E\]"),
        (put("paper", "positives", torch.tensor([[0], [4]])), "positives name node 4, but the target's are numbered"),
        (split([0], [1], [4]), "split 20 names test node 4, but those of the target are numbered 0..3"),
        (split([-1], [1], [2]), "split 20 names train node -1"),
        (split([0], [1], [3]), "split 20 names test node 3, which has no label"),
        (split([0], [1], [2, 1]), "split 20 has node 1 in test and in train or val"),
        (split([0], [], [2]), "split 20 must be three tensors"),
        (split([0], [1]), "split 20 must be three tensors"),
        (split([True] * 4, [True] * 4, [True] * 4), "split 20 must be three tensors of node numbers"),
        (put("paper", "splits", [0]), "splits must be a dictionary"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(change: Callable[[HeteroData], None], message: str) -> None:
    data = graph()
    change(data)
    with pytest.raises(InputError, match=f"^graph: .*({message})"):
        check(data, "graph")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Data(x=torch.ones(3, 2)), "must be a HeteroData with a target_type, not a Data"),
        (HeteroData({"paper": {"num_nodes": 3}}), "set data.target_type to the node type to embed, one of paper"),
        (HeteroData({"target_type": "q", "paper": {"num_nodes": 3}}), "the target 'q' is none of paper"),
        (HeteroData({"target_type": "paper", "paper": {"num_nodes": 0}}), "the target 'paper' has no nodes"),
    ],
)
def test_a_target_is_needed(given: Data | HeteroData, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(given, "graph")


def test_every_part_counts_in_the_digest() -> None:
    changes = [
        lambda data: None,
        put(BY, "edge_index", torch.tensor([[0, 1, 3], [0, 1, 0]])),
        put("paper", "x", torch.ones(4, 2)),
        put("paper", "x", torch.ones(4, 2).to_sparse_coo()),
        put("paper", "x", 2 * torch.ones(4, 2).to_sparse_coo()),
        put("paper", "y", torch.tensor([0, 1, 1, -1])),
        put("author", "num_nodes", 3),
        split([1], [0], [2]),
        put("paper", "positives", torch.zeros(2, 1).long()),
        lambda data: setattr(data, "target_type", "author"),
    ]
    digests = set()
    for change in changes:
        data = graph()
        change(data)
        digests.add(graph_digest(data))
    assert len(digests) == len(changes) and all(len(digest) == 16 for digest in digests)


def test_neither_the_order_of_types_nor_that_of_memory_counts() -> None:
    data, other = graph(), HeteroData()
    other.target_type = "paper"
    other["author"].num_nodes = 2
    other["paper"].update(dict(data["paper"].items()))
    other["paper"].x = data["paper"].x.T.contiguous().T
    other[BY].edge_index = data[BY].edge_index
    assert graph_digest(data) == graph_digest(other)
