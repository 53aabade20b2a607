"""The table of meta-path models: cells, what is run again, the page."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import metapath_run
from benchmarks.__main__ import app
from benchmarks.metapath import Row
from benchmarks.metapath_report import MEASURES, document
from graphcl.errors import InputError

CONFIGS = Path(__file__).parents[2] / "benchmarks" / "configs" / "metapath"
ROW = """
title: Toy, MEOW
bars: [acm-meow]
seeds: 2
graph: {path: toy.npz, names: {p: paper, a: author}}
model: {kind: meow, metapaths: [paper-author-paper], n_neighbors: [4], n_clusters: [3], embedding_size: 8}
training: {learning_rate: 1.0e-3, epochs: 4, train_batch_size: 1000, eval_every: 2, patience: 100}
probe: {steps: 5, repeats: 2}
"""


def toy(folder: Path) -> None:
    """Forty papers of two classes; a paper's authors are of its class."""
    paper = np.arange(40).repeat(2)
    author = np.random.default_rng(0).integers(0, 8, 80) * 2 + paper % 2
    parts = np.arange(40)
    np.savez(
        folder / "toy.npz",
        node_types=np.array(["p", "a"]),
        num_nodes=np.array([40, 16]),
        target_type=np.array("p"),
        edge_pa=np.stack([paper, author]),
        labels=np.arange(40) % 2,
        train_20=parts[:10],
        val_20=parts[10:25],
        test_20=parts[25:],
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    toy(tmp_path)
    monkeypatch.setenv("GRAPHCL_DATA", str(tmp_path))
    (tmp_path / "configs" / "metapath").mkdir(parents=True)
    (tmp_path / "configs" / "metapath" / "toy.yaml").write_text(ROW)
    return tmp_path


def test_cells_are_run_once_and_again_when_the_row_changes(home: Path) -> None:
    said: list[str] = []
    assert metapath_run.run(home, seeds=1, say=said.append) == []
    assert said[0] == "0 of 1 cells have their record"
    path = home / "results" / "metapath" / "toy-0.json"
    record = json.loads(path.read_text())
    assert record["rules"]["last"]["epoch"] == 4
    assert set(record["rules"]) == {"last", "loss", "valid"}
    assert [point["epoch"] for point in record["curve"]] == [2, 4]
    before = path.stat().st_mtime_ns
    metapath_run.run(home, seeds=1, say=said.append)
    assert said[-1] == "1 of 1 cells have their record"
    assert path.stat().st_mtime_ns == before
    row = home / "configs" / "metapath" / "toy.yaml"
    row.write_text(row.read_text().replace("title: Toy, MEOW", "title: Another title"))
    assert metapath_run.record_of(home, Row.load(row), 0) is not None
    row.write_text(row.read_text().replace("embedding_size: 8", "embedding_size: 9"))
    assert metapath_run.record_of(home, Row.load(row), 0) is None


def test_records_from_before_a_key_have_its_default(home: Path) -> None:
    row = Row.load(home / "configs" / "metapath" / "toy.yaml")
    old = row.identity()
    del old["graph"]["positives"]
    assert row.made({"identity": old})
    assert not row.made({"identity": {**old, "graph": {**old["graph"], "positives": "pos.npz"}}})
    del old["graph"]["path"]
    assert not row.made({"identity": old}) and not row.made({})


def test_a_row_that_is_not_there(home: Path) -> None:
    with pytest.raises(InputError, match="has no row 'tooy'"):
        metapath_run.run(home, ["tooy"], say=print)


def test_a_cell_that_fails_is_named_with_the_cause(home: Path) -> None:
    row = home / "configs" / "metapath" / "toy.yaml"
    row.write_text(row.read_text().replace("paper-author-paper", "paper-venue-paper"))
    said: list[str] = []
    assert metapath_run.run(home, seeds=1, say=said.append) == [("toy", 0)]
    assert "venue" in said[-1]


def record(seed: int, value: float, loss_epoch: int) -> dict:
    scores = dict.fromkeys(MEASURES, value)
    return {
        "seed": seed,
        "rules": {
            "last": {"epoch": 4, **scores},
            "loss": {"epoch": loss_epoch, **scores},
            "valid": {"epoch": 4, **scores},
        },
        "epochs": 4,
        "prepare_cpu_seconds": 1.0,
        "train_cpu_seconds": 8.0,
        "peak_memory_mib": 300,
        "curve": [],
    }


def test_the_page_gives_means_rules_that_differ_and_verdicts(home: Path) -> None:
    from benchmarks.metapath_report import Bar

    row = Row.load(home / "configs" / "metapath" / "toy.yaml")
    bar = Bar(title="theirs", source="somewhere", macro_f1=(90.0, 91.0, None), micro_f1=(None,) * 3, auc=(None,) * 3)
    made = [(row, [record(0, 90.0, 4), record(1, 91.0, 2)])]
    section = document(made, {"acm-meow": bar}).sections[0]
    grid = section.parts[0]
    assert [line[0] for line in grid.rows] == [
        "ours, last epoch (epoch 4)",
        "ours, lowest training loss (epochs 2, 4)",
        "theirs",
        "ours, last epoch, less that",
    ]
    assert grid.rows[0][1] == "90.50 ± 0.71"
    assert grid.rows[3][1:4] == ("+0.50", "-0.50", "")
    assert section.parts[1] == "- theirs: somewhere. 2 of 2 values are within 0.5 point or better."


def test_the_page_has_the_curve_of_time_and_memory() -> None:
    scale = {"build_cpu_seconds": 1.0, "step_cpu_seconds": 0.5, "peak_gib": 0.75}
    timings = {"scale_meow_100000": scale, "scale_meow_10000": scale, "probe": {"cpu_seconds": 1.0, "mib": 2.0}}
    singles, curve = document([], {}, timings).sections[-1].parts
    assert singles.rows == (("fifty probes of one ratio on ACM", "1.00", "2"),)
    assert [line[1] for line in curve.rows] == ["10,000", "100,000"]


def test_the_command_line_knows_the_table(home: Path) -> None:
    said = CliRunner().invoke(app, ["report", "metapath", "--home", str(home)])
    assert said.exit_code == 0, said.output
    page = (home / "results" / "metapath.md").read_text()
    assert "## Toy, MEOW" in page and "not run" in page


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_row_is_complete(path: Path) -> None:
    from benchmarks.metapath_report import Bar
    from recsys.config import build, read

    bars = {name: build(Bar, tree, name) for name, tree in read(CONFIGS.parents[1] / "metapath_bars.yaml").items()}
    row = Row.load(path)
    assert set(row.settings.bars) <= set(bars)
    assert row.settings.training.train_batch_size >= 10**6  # the whole graph, as published
