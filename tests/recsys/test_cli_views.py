"""`recsys views`: numbers and a picture of any view, and mistakes by name."""

import sys

import pytest
import yaml
from worlds import checkerboard

from graphcl.errors import InputError
from recsys import cli, train
from recsys.config import kind_of
from recsys.view_diagnosis import diagnose
from recsys.view_kinds import AnyView
from recsys.view_picture import draw

VIEWS = {
    "edge_drop": {"ratio": 0.25},
    "node_drop": {"ratio": 0.2},
    "edge_add": {"ratio": 0.5},
    "random_walk_subgraph": {"roots": 0.05, "length": 4},
    "feature_mask": {"ratio": 0.5},
    "feature_shuffle": {"ratio": 0.5},
    "signed_noise": {"size": 0.1},
    "personalized_page_rank": {"top_k": 5},
    "low_rank": {"rank": 4},
    "cosine_mask": {"signal": "intents", "n_intents": 200, "by_row": True},
    "concrete_mask": {"budget": 0.6},
    "compose": {"views": [{"kind": "edge_drop", "ratio": 0.5}, {"kind": "edge_drop", "ratio": 0.5}]},
    "random_choice": {
        "views": [{"kind": "edge_drop", "ratio": 1}, {"kind": "edge_drop", "ratio": 0}],
        "weights": [1, 1],
    },
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A CSV of the checkerboard world as the block `dataset`."""
    split = checkerboard()
    path = tmp_path_factory.mktemp("data") / "events.csv"
    whole = split.train + split.valid + split.test
    rows = zip(whole.user.tolist(), whole.item.tolist(), whole.time.tolist(), strict=True)
    path.write_text("\n".join(["who,what,when", *(f"{user},{item},{time}" for user, item, time in rows)]) + "\n")
    reader = {"kind": "table", "path": str(path), "user": "who", "item": "what", "time": "when"}
    return {"name": "shop", "reader": reader, "split": {"kind": "leave_one_out"}}


@pytest.fixture
def write(tmp_path, shop):
    def to_file(*views, **more):
        path = tmp_path / "views.yaml"
        path.write_text(yaml.safe_dump({"dataset": shop, "views": list(views), **more}))
        return path

    return to_file


def test_every_view_is_tried_here():
    assert {kind_of(kind) for kind in AnyView.__args__} == set(VIEWS)


@pytest.mark.parametrize("kind", VIEWS)
def test_any_view_is_diagnosed_and_drawn(kind, write, tmp_path):
    found = diagnose(write({"kind": kind, **VIEWS[kind]}, draws=2))
    table = {row.name: row for row in found.tables["structure"]}
    assert table["edges"].before == 60 * 6
    assert ("edge weights" in found.tables) == (
        kind in ("personalized_page_rank", "low_rank", "cosine_mask", "concrete_mask")
    )
    assert ("vectors" in found.tables) == (kind in ("feature_mask", "feature_shuffle", "signed_noise"))
    draw(found, tmp_path / "picture.svg")
    assert "</svg>" in (tmp_path / "picture.svg").read_text()


def test_numbers_are_those_of_the_view(write):
    table = {row.name: row for row in diagnose(write({"kind": "edge_drop", "ratio": 0.25})).tables["structure"]}
    assert (table["edges"].mean, table["edges"].sd) == (270, 0)
    assert table["share of the edges kept"].mean == 0.75
    assert table["components"].before == 4
    chosen = diagnose(write({"kind": "random_choice", **VIEWS["random_choice"]}, draws=20))
    edges = next(row for row in chosen.tables["structure"] if row.name == "edges")
    assert 0 < edges.mean < 360
    assert edges.sd > 100


def test_a_budget_is_kept_and_the_seed_repeats(write):
    config = write({"kind": "concrete_mask", "budget": 0.6, "temperature": 0.2}, draws=4)
    first, second = diagnose(config), diagnose(config)
    assert first.tables == second.tables
    kept = next(row for row in first.tables["structure"] if row.name == "share of the edges kept")
    assert abs(kept.mean - 0.6) < 0.06


def test_trained_vectors(write, shop, tmp_path):
    tree = {
        "dataset": shop,
        "model": {"kind": "dccf", "embedding_size": 8, "n_intents": 4},
        "training": {"epochs": 1},
        "output": str(tmp_path / "runs"),
    }
    run = train(tree)
    vectors = {"kind": "trained", "run": str(run.folder)}
    found = diagnose(write({"kind": "cosine_mask", "signal": "intents"}, vectors=vectors))
    assert found.graph.x.shape == (100, 8)
    assert found.tables["edge weights"][0].sd == 0
    with pytest.raises(InputError, match="trained on other data"):
        diagnose(write({"kind": "edge_drop", "ratio": 0.1}, vectors=vectors, split="ratio"))


def test_the_command_prints_draws_and_names_mistakes(write, tmp_path, monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["recsys", "views", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as stop:
            assert stop.code in (0, 1)
        captured = capsys.readouterr()
        return captured.out + captured.err

    text = call(write({"kind": "node_drop", "ratio": 0.5}), "--out", tmp_path / "out", "--format", "png")
    assert "isolated items" in text
    assert (tmp_path / "out" / "views.png").stat().st_size > 10_000
    text = call(write({"kind": "node_dorp", "ratio": 0.5}, draw=2))
    assert "did you mean 'node_drop'?" in text
    assert "did you mean 'draws'?" in text
    assert "ratio: must be in [0, 1]" in call(write({"kind": "node_drop", "ratio": 2}))
    assert "seed: must be in [0, 9.22337e+18]" in call(write({"kind": "node_drop", "ratio": 0.1}, seed=10**22))
    assert "ratio: must be a number, got true" in call(write({"kind": "node_drop", "ratio": True}))
    assert "views: names none" in call(write({"kind": "compose", "views": []}))
    choice = {"kind": "random_choice", "views": [{"kind": "node_drop", "ratio": 0.1}], "weights": [0]}
    assert "weights: 1 views need as many weights, not all of them 0" in call(write(choice))
    (tmp_path / "file").touch()
    text = call(write({"kind": "node_drop", "ratio": 0.5}), "--out", tmp_path / "file")
    assert "file: cannot be made (File exists); name a writable folder" in text
