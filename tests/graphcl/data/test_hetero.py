"""Graphs from archives, tables and recipes: what is read is what was written, and mistakes are named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from torch_geometric.data import HeteroData

from graphcl.data.hetero import from_arrays, load_graph, row_normalized, scipy_features
from graphcl.data.recipe import GraphRecipe, neighbor_mean, read_pairs
from graphcl.errors import InputError

BINARY = sp.random(6, 9, 0.4, format="csr", random_state=1)
BINARY.data[:] = 1


def arrays() -> dict[str, np.ndarray]:
    """Papers p with sparse features, authors a without, subjects s; edges in both layouts."""
    written = sp.random(6, 5, 0.5, format="csr", random_state=0)
    return {
        "node_types": np.array(["p", "a", "s"]),
        "num_nodes": np.array([6, 5, 2]),
        "target_type": np.array("p"),
        "edge_pa/indptr": written.indptr,
        "edge_pa/indices": written.indices,
        "edge_pa/shape": np.array([6, 5]),
        "edge_p-s": np.array([[0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1]]),
        "feat_p/indptr": BINARY.indptr,
        "feat_p/indices": BINARY.indices,
        "feat_p/shape": np.array(BINARY.shape),
        "labels": np.array([1, 2, 1, 2, 1, 2], dtype=np.int8),
        "train_20": np.array([0, 1]),
        "val_20": np.array([2, 3]),
        "test_20": np.array([4, 5]),
    }


def test_an_archive_becomes_a_hetero_graph(tmp_path: Path) -> None:
    np.savez(tmp_path / "graph.npz", **arrays())
    data = load_graph(tmp_path / "graph.npz", names={"p": "paper", "a": "author"})
    assert data.node_types == ["paper", "author", "s"] and data.target_type == "paper"
    assert data["author"].num_nodes == 5 and "x" not in data["author"]
    np.testing.assert_array_equal(scipy_features(data, "paper").toarray(), BINARY.toarray())
    assert data["paper", "to", "s"].edge_index.tolist() == arrays()["edge_p-s"].tolist()
    assert data["paper"].y.tolist() == [1, 2, 1, 2, 1, 2]
    assert [part.tolist() for part in data["paper"].splits[20]] == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edge_p-s": np.array([[0, 6], [0, 0]])}, "names 'p' node 6.*numbered 0..5"),
        ({"edge_p-x": np.array([[0], [0]])}, "'edge_p-x' should read"),
        ({"feat_a": np.zeros((4, 2))}, "'a' has 5 nodes but 4 rows"),
        ({"edge_p-s": np.array([[0, -1], [0, 0]])}, "names 'p' node -1.*numbered 0..5"),
        ({"edge_p-s": np.array([[0, 0], [1, 0], [2, 1]])}, r"'edge_p-s' should be \[2, E\]"),
        ({"labels": np.array([1, 2])}, "the target 6 nodes"),
        ({"train_40": np.array([0])}, "'val_40' is missing"),
        ({"val_40": np.array([0])}, "'train_40' is missing"),
        ({"val_20": np.array([6])}, "split 20 names val node 6, .*numbered 0..5"),
        ({"test_20": np.array([4, 1])}, "split 20 has node 1 in test and in train or val"),
        ({"val_20": np.array([], dtype=int)}, "split 20 has no val nodes"),
        ({"train_20": np.array([True, True, False, False, False, False])}, "'train_20' must hold .*not truth values"),
        ({"labels": np.array([1, 2, 1, 2, 1, -1])}, "split 20 names test node 5, which has no label"),
        ({"labels": np.array(list("ababab"))}, "'labels' must hold whole numbers, not text"),
        ({"labels": np.array([0, 1, 0, 1, 0, np.nan])}, "'labels' must hold whole numbers, not nan"),
        ({"edge_p-s": np.array([[0, 1.7], [0, 0]])}, "'edge_p-s' must hold whole numbers, not 1.7"),
        ({"edge_p-s": np.array([["0"], ["0"]])}, "'edge_p-s' must hold whole numbers, not text"),
        ({"feat_a": np.zeros(5)}, r"'feat_a' must be \[N, F\].*not of shape \(5,\)"),
        ({"feat_a": np.array([["x"]] * 5)}, "'feat_a' must hold numbers, not text"),
        ({"feat_p/data": np.full(BINARY.nnz, "x")}, "'feat_p/data' must hold numbers, not text"),
        ({"feat_p/indptr": np.array([0, 1])}, "'feat_p' is no matrix in compressed rows"),
        ({"feat_p/shape": np.array([6, 1])}, "'feat_p' is no matrix in compressed rows"),
        ({"feat_a/indptr": np.array([0, 1])}, "'feat_a/indices' is missing; 'feat_a' has indptr"),
        ({"feat_pp": np.zeros((6, 2))}, r"'feat_pp' is unknown; did you mean 'feat_p'\?"),
        ({"valid_20": np.array([2])}, r"'valid_20' is unknown; did you mean 'val_20'\?"),
        ({"feat_p/indces": np.array([2])}, r"'feat_p/indces' is unknown; did you mean 'feat_p/indices'\?"),
        ({"edges_p-a": np.array([[2], [2]])}, r"'edges_p-a' is unknown; did you mean 'edge_p-a'\?"),
        ({"zzz": np.array([2])}, "'zzz' is unknown; leave it out; known: node_types, .*feat_p"),
        ({"node_types": np.array("p")}, "'node_types' must be a list of different names, not 'p'"),
        ({"node_types": np.array(["p", "a", "p"])}, "'node_types' must be a list of different names"),
        ({"node_types": np.array(["p", "a", "co-s"])}, "'co-s' has a hyphen or a bracket.*rename it, such as 'co_s'"),
        ({"num_nodes": np.array(6)}, "'num_nodes' must count the nodes of each"),
        ({"num_nodes": np.array([6, 5, -2])}, "'num_nodes' must count the nodes of each"),
        ({"target_type": np.array("q")}, "the target 'q' is none of p, a, s"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_arrays(arrays() | change)


def test_a_missing_file_and_a_missing_array_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such graph"):
        load_graph(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match="not a readable"):
        load_graph(tmp_path / "broken.npz")
    with pytest.raises(InputError, match="'q' is no node type; the types are p, a, s"):
        from_arrays(arrays(), names={"q": "paper"})
    with pytest.raises(InputError, match="two node types get the same name"):
        from_arrays(arrays(), names={"p": "a"})
    lacking = arrays()
    del lacking["num_nodes"]
    with pytest.raises(InputError, match="'num_nodes' is missing"):
        from_arrays(lacking)


def test_whole_numbers_may_be_floating_and_a_node_may_stand_twice_in_one_part() -> None:
    """As IMDB's train parts have it, and as numpy makes arrays of empty lists."""
    changed = {"edge_p-s": arrays()["edge_p-s"].astype(float), "train_20": np.array([0, 1, 1])}
    data = from_arrays(arrays() | changed | {"edge_a-s": np.array([[], []])})
    assert data["p", "to", "s"].edge_index.tolist() == arrays()["edge_p-s"].tolist()
    assert data["a", "to", "s"].edge_index.shape == (2, 0)
    assert data["p"].splits[20][0].tolist() == [0, 1, 1]


def write_tables(folder: Path) -> None:
    papers = pd.DataFrame({"id": ["x", "y", "z"], "label": ["b", None, "a"], "year": [1.0, 2.0, 3.0]})
    papers.to_parquet(folder / "nodes_paper.parquet")
    pd.DataFrame({"id": [70, 60]}).to_parquet(folder / "nodes_author.parquet")
    edges = pd.DataFrame({"source": ["z", "x"], "target": [60, 70]})
    edges.to_parquet(folder / "edges_paper-author.parquet")


def test_tables_keep_ids_labels_and_features_together(tmp_path: Path) -> None:
    write_tables(tmp_path)
    data = load_graph(tmp_path)
    assert data.target_type == "paper"
    assert data["paper", "to", "author"].edge_index.tolist() == [[2, 0], [1, 0]]
    assert data["paper"].y.tolist() == [1, -1, 0] and data["paper"].classes == ["a", "b"]
    assert data["paper"].x.tolist() == [[1.0], [2.0], [3.0]] and "x" not in data["author"]


def test_tables_name_the_row_that_is_wrong(tmp_path: Path) -> None:
    write_tables(tmp_path)
    edges = pd.DataFrame({"source": ["z", "nobody"], "target": [60, 70]})
    edges.to_parquet(tmp_path / "edges_paper-author.parquet")
    with pytest.raises(InputError, match="row 1, column 'source': no node has the id 'nobody'"):
        load_graph(tmp_path)
    pd.DataFrame({"id": [1, 1]}).to_parquet(tmp_path / "nodes_author.parquet")
    with pytest.raises(InputError, match="the id 1 occurs twice"):
        load_graph(tmp_path)


def write_splits(folder: Path, split: list[object]) -> None:
    papers = pd.DataFrame({"id": [1, 2, 3, 4], "label": ["a", "b", "a", None], "split_20": split, "year": [1, 2, 3, 4]})
    papers.to_parquet(folder / "nodes_paper.parquet")


@pytest.mark.parametrize("nothing", ["", None])
def test_tables_may_hold_splits(tmp_path: Path, nothing: object) -> None:
    write_splits(tmp_path, ["test", "train", "val", nothing])
    store = load_graph(tmp_path)["paper"]
    assert [part.tolist() for part in store.splits[20]] == [[1], [2], [0]]
    assert store.x.tolist() == [[1.0], [2.0], [3.0], [4.0]]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (["test", "train", "valid", ""], "row 2, column 'split_20': 'valid' is no part of a split; write train, val"),
        ([0, 1, 2, 3], "row 0, column 'split_20': 0 is no part"),
        (["test", "train", "", ""], "split 20 has no val nodes"),
        (["test", "train", "val", "test"], "split 20 names test node 3, which has no label"),
    ],
)
def test_wrong_splits_of_tables_are_named(tmp_path: Path, split: list[object], message: str) -> None:
    write_splits(tmp_path, split)
    with pytest.raises(InputError, match=message):
        load_graph(tmp_path)


@pytest.mark.parametrize("name", ["nodes_paper.parquet", "edges_paper-author.parquet"])
@pytest.mark.parametrize("content", [b"", b"PAR1 and no more"])
def test_damaged_tables_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    write_tables(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: cannot be read as Parquet"):
        load_graph(tmp_path)


def test_tables_of_types_that_paths_cannot_name_are_refused(tmp_path: Path) -> None:
    write_tables(tmp_path)
    pd.DataFrame({"id": [1]}).to_parquet(tmp_path / "nodes_co-author.parquet")
    with pytest.raises(InputError, match=r"'co-author' has a hyphen or a bracket in its name.*such as 'co_author'"):
        load_graph(tmp_path)


def test_rows_are_divided_by_their_sums_and_empty_ones_stay() -> None:
    table = np.array([[1.0, 3.0], [0.0, 0.0]])
    expected = [[0.25, 0.75], [0.0, 0.0]]
    np.testing.assert_array_equal(row_normalized(table), expected)
    np.testing.assert_array_equal(row_normalized(sp.csr_matrix(table)).toarray(), expected)


def recipe(**changes: object) -> GraphRecipe:
    names = {"p": "paper", "a": "author", "s": "subject"}
    common = {"path": "graph.npz", "names": names, "normalize": ("paper",), "mean_of": {"author": "paper"}}
    return GraphRecipe(**(common | changes))  # type: ignore[arg-type]


def test_a_recipe_gives_authors_the_mean_of_their_papers(tmp_path: Path) -> None:
    np.savez(tmp_path / "graph.npz", **arrays())
    data = recipe().load(tmp_path)
    papers = scipy_features(data, "paper").toarray()
    authors = scipy_features(data, "author").toarray()
    paper, author = data["paper", "to", "author"].edge_index
    for number in range(5):
        own = paper[author == number]
        expected = papers[own].mean(0) if len(own) else np.zeros(9)
        np.testing.assert_allclose(authors[number], expected, atol=1e-6)


def test_shuffling_renumbers_everything_about_the_target(tmp_path: Path) -> None:
    np.savez(tmp_path / "graph.npz", **arrays())
    plain, mixed = recipe().load(tmp_path), recipe(shuffle=True).load(tmp_path)

    def facts(data) -> set[tuple[object, ...]]:
        """What each paper is, without its number."""
        features = scipy_features(data, "paper").toarray().round(5)
        found = set()
        for node in range(6):
            ends = []
            for name in ("author", "subject"):
                row, column = data["paper", "to", name].edge_index
                ends.append(tuple(sorted(column[row == node].tolist())))
            part = [k for k, nodes in enumerate(data["paper"].splits[20]) if node in nodes]
            found.add((tuple(features[node].tolist()), int(data["paper"].y[node]), *ends, *part))
        return found

    assert facts(plain) == facts(mixed)
    assert not torch.equal(plain["paper"].y, mixed["paper"].y) or not torch.equal(
        plain["paper", "to", "author"].edge_index, mixed["paper", "to", "author"].edge_index
    )


def test_given_positives_follow_their_nodes(tmp_path: Path) -> None:
    np.savez(tmp_path / "graph.npz", **arrays())
    np.savez(tmp_path / "pos.npz", indptr=[0, 2, 3, 3, 4, 5, 6], indices=[0, 4, 1, 2, 4, 5])
    plain, mixed = recipe(positives="pos.npz").load(tmp_path), recipe(positives="pos.npz", shuffle=True).load(tmp_path)
    assert plain["paper"].positives.tolist() == [[0, 0, 1, 3, 4, 5], [0, 4, 1, 2, 4, 5]]

    def facts(data) -> set[tuple[object, ...]]:
        """Each pair by the features of its nodes."""
        features = [tuple(row) for row in scipy_features(data, "paper").toarray().round(5).tolist()]
        return {(features[i], features[j]) for i, j in data["paper"].positives.T.tolist()}

    assert facts(plain) == facts(mixed)


def test_a_graph_of_the_working_folder_is_found_after_one_of_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "graph.npz", **arrays())
    assert recipe().load(tmp_path / "data")["paper"].num_nodes == 6
    np.savez(tmp_path / "data" / "graph.npz", **arrays() | {"feat_p": np.ones((6, 2))})
    assert recipe().load(tmp_path / "data")["paper"].x.shape == (6, 2)
    with pytest.raises(InputError, match=r"data/nowhere\.npz: no such graph"):
        recipe(path="nowhere.npz").load(tmp_path / "data")


@pytest.mark.parametrize("indptr", [[0, 1, 2], [0, 1, 2, 2, 2, 2, 3]])
def test_positives_of_another_graph_are_refused(tmp_path: Path, indptr: list[int]) -> None:
    np.savez(tmp_path / "graph.npz", **arrays())
    np.savez(tmp_path / "pos.npz", indptr=indptr, indices=[0, 1, 6])
    with pytest.raises(InputError, match=r"positives: .*6 rows"):
        recipe(positives="pos.npz").load(tmp_path)
    with pytest.raises(InputError, match=r"positives: .*no archive"):
        recipe(positives="elsewhere.npz").load(tmp_path)


def test_an_edge_that_is_listed_twice_is_one_neighbour() -> None:
    data = HeteroData()
    data["paper"].x, data["author"].num_nodes = torch.tensor([[1.0], [3.0]]), 1
    data["paper", "to", "author"].edge_index = torch.tensor([[0, 0, 1], [0, 0, 0]])
    assert float(neighbor_mean(data, "author", "paper")[0, 0]) == 2.0


@pytest.mark.parametrize("content", ["cut", "array", "falling"])
def test_damaged_positives_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "positives.npz"
    np.savez(path, indptr=np.array([0, 2, 1, 3]), indices=np.array([0, 1, 2]))
    if content == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif content == "array":
        with path.open("wb") as file:
            np.save(file, np.arange(3))
    with pytest.raises(InputError, match=r"graph\.positives: .*positives\.npz is no"):
        read_pairs(path, 3)


def test_names_are_refused_where_files_name_the_types(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="named by its files"):
        load_graph(tmp_path, names={"p": "paper"})
