"""An embedder through the common command line, on a small graph of two kinds of nodes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch_geometric.data import Data, HeteroData

from graphcl.data.digest import graph_digest
from graphcl.errors import InputError
from recsys import folder as files
from recsys.data.catalog import load_split
from recsys.experiment import Experiment
from recsys.nodes import NodeExperiment, train_embedder

CONFIG = {
    "graph": {"path": "unused"},
    "model": {"kind": "meow", "embedding_size": 8, "metapaths": ["paper-author-paper"], "n_neighbors": [5], "n_clusters": [3]},  # noqa: E501
    "training": {"epochs": 3, "train_batch_size": 1000, "eval_every": 1},
    "probe": {"steps": 20, "repeats": 3},
}  # fmt: skip


@pytest.fixture
def graph():
    """60 papers of three fields; the authors of a paper are of its field."""
    generator = np.random.default_rng(0)
    data = HeteroData()
    data.target_type = "paper"
    field = torch.arange(60) % 3
    data["paper"].x = torch.eye(3)[field] + 0.1 * torch.from_numpy(generator.normal(size=(60, 3))).float()
    data["author"].x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    author = torch.from_numpy(generator.integers(0, 10, size=120)) * 3 + field.repeat_interleave(2)
    data["paper", "by", "author"].edge_index = torch.stack([torch.arange(60).repeat_interleave(2), author])
    data["paper"].y = field
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    data["paper"].splits = {5: (order[:15], order[15:30], order[30:])}
    return data


def test_it_trains_probes_and_keeps_the_vectors(graph, tmp_path):
    run = train_embedder({**CONFIG, "output": str(tmp_path)}, graph=graph)
    assert run.embedding.shape == (60, 8) and 0 <= run.result["macro_f1@5"] <= 100 and "nmi" in run.result
    assert np.array_equal(np.load(run.folder / "embedding.npy"), run.embedding.numpy())
    assert len(files.MetricsFile(run.folder).read()) == 3
    again = train_embedder(NodeExperiment.load(run.folder / files.CONFIG), graph=graph, resume=True)
    assert again.folder == run.folder and torch.equal(again.embedding, run.embedding)


def test_a_mistake_that_the_first_batch_shows_leaves_no_folder(graph, tmp_path):
    training = {**CONFIG["training"], "loss_schedules": {"contrst": "constant"}}
    with pytest.raises(InputError, match="contrst: no loss term is called so"):
        train_embedder({**CONFIG, "training": training, "output": str(tmp_path)}, graph=graph)
    assert not list(tmp_path.iterdir())


def test_a_run_is_not_resumed_on_another_graph(graph, tmp_path):
    tree = {**CONFIG, "output": str(tmp_path)}
    run = train_embedder(tree, graph=graph)
    found = files.read_json(run.folder / files.ENVIRONMENT)["data"]
    assert found == {"dataset": "unused", "digest": graph_digest(graph)}
    graph["paper"].y = graph["paper"].y.flip(0)
    with pytest.raises(InputError, match=f"was trained on the graph {found['digest']}, the graph is now .*new run"):
        train_embedder(tree, graph=graph, resume=True)
    assert len(files.MetricsFile(run.folder).read()) == 3 and len(list(tmp_path.iterdir())) == 1
    files.write_json(run.folder / files.ENVIRONMENT, {"data": {"dataset": "unused"}})  # as runs before had it
    assert train_embedder(tree, graph=graph, resume=True).folder == run.folder


def test_the_file_of_a_graph_is_compared_and_not_what_is_made_of_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHCL_DATA", str(tmp_path))
    write_archive(tmp_path)
    walks = {"metapath": "p-a-p", "size": 4, "epochs": 1}
    tree = {**CONFIG, "output": str(tmp_path / "runs"), "graph": {"path": "graph.npz", "walk_features": walks}}
    tree["model"] = {**CONFIG["model"], "metapaths": ["p-a-p"]}
    run = train_embedder(tree)
    monkeypatch.setattr(
        "graphcl.data.recipe.walk_features", lambda data, _: {"p": torch.ones(60, 4), "a": torch.ones(30, 4)}
    )
    assert train_embedder(tree, resume=True).folder == run.folder
    write_archive(tmp_path, labels=np.zeros(60, dtype=int))
    with pytest.raises(InputError, match="was trained on the graph"):
        train_embedder(tree, resume=True)


def write_archive(folder, **more):
    edges = np.stack([np.arange(60).repeat(2), np.arange(120) % 30])
    common = {"node_types": ["p", "a"], "num_nodes": [60, 30], "target_type": "p", "edge_p-a": edges}
    np.savez(folder / "graph.npz", **common, **more)


def test_labels_without_splits_judge_clusterings(graph, tmp_path):
    del graph["paper"].splits
    run = train_embedder({**CONFIG, "output": str(tmp_path)}, graph=graph)
    assert set(run.result) == {"nmi", "nmi_std", "ari", "ari_std"}
    assert files.read_json(run.folder / files.RESULT)["test"] == run.result
    graph["paper"].y = torch.full((60,), -1)
    assert not train_embedder({**CONFIG, "output": str(tmp_path)}, graph=graph).result
    with pytest.raises(InputError, match="monitor: valid_macro_f1 needs labels and splits"):
        train_embedder({**CONFIG, "output": str(tmp_path), "monitor": "valid_macro_f1"}, graph=graph)


@pytest.mark.parametrize("labelled", [True, False])
def test_the_command_says_what_labels_without_splits_are_good_for(command, tmp_path, monkeypatch, labelled):
    monkeypatch.setenv("GRAPHCL_DATA", str(tmp_path))
    write_archive(tmp_path, **({"labels": np.arange(60) % 3} if labelled else {}))
    model = {**CONFIG["model"], "metapaths": ["p-a-p"]}
    tree = {**CONFIG, "graph": {"path": "graph.npz"}, "model": model, "output": str(tmp_path / "runs")}
    (tmp_path / "meow.yaml").write_text(yaml.safe_dump(tree))
    status, out, _ = command("train", tmp_path / "meow.yaml")
    assert status == 0 and ("nmi" in out) == labelled
    assert ("Clusterings only: the labels have no splits" in " ".join(out.split())) == labelled
    assert ("no labels: nothing to judge" in out) != labelled


@pytest.mark.parametrize("name", ["evaluate", "export", "recommend"])
def test_a_run_of_an_embedder_ranks_nothing(command, graph, tmp_path, name):
    run = train_embedder({**CONFIG, "output": str(tmp_path)}, ["epochs=1"], graph=graph)
    status, _, err = command(name, run.folder)
    assert status == 1 and "unknown key" not in err
    assert "is a run of an embedder (meow), which has no users or items" in err and "embedding.npy" in err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            HeteroData({"paper": {"num_nodes": 3}}),
            "graph: set data.target_type to the node type to embed",
        ),
        (Data(x=torch.ones(3, 2)), r"graph: must be a HeteroData with a target_type, not a Data, .*GRACE and DGI"),
    ],
)
def test_graphs_from_python_are_checked(tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        train_embedder({**CONFIG, "output": str(tmp_path)}, graph=given)
    assert not list(tmp_path.iterdir())


def test_a_path_may_be_a_string_and_a_tree_stays_as_it_was(graph, tmp_path):
    tree = {**CONFIG, "output": str(tmp_path), "training": {"epochs": 1}}
    (tmp_path / "meow.yaml").write_text(yaml.safe_dump(tree))
    run = train_embedder(str(tmp_path / "meow.yaml"), ["epochs=2"], graph=graph)
    assert len(files.MetricsFile(run.folder).read()) == 2
    NodeExperiment.load(tree, ["epochs=2"])
    assert tree["training"] == {"epochs": 1}
    with pytest.raises(InputError, match="training: must be a block of keys"):
        NodeExperiment.load({**CONFIG, "training": "fast"})


def test_mistakes_are_named_together():
    tree = {**CONFIG, "model": {"kind": "meow", "temprature": 1}, "prob": {}, "training": {"epochs": 0}}
    with pytest.raises(InputError) as caught:
        NodeExperiment.load(tree)
    for part in (
        "model.temprature: unknown key; did you mean 'temperature'?",
        "prob: unknown key",
        "epochs: must be >= 1",
    ):
        assert part in str(caught.value)
    with pytest.raises(InputError, match=r"'moew' is unknown; did you mean 'meow'\?"):
        NodeExperiment.load({**CONFIG, "model": {"kind": "moew"}})


def test_the_configurations_of_the_page_on_graphs_are_valid():
    page = (Path(__file__).parents[2] / "docs" / "graphs.md").read_text()
    nodes, views, own = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    assert NodeExperiment.load(nodes).kind == "meow"
    assert Experiment.load(views).kind == "metapath_lightgcn"
    with pytest.raises(InputError, match="no such file"):
        load_split(own["dataset"])
