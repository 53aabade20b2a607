"""The table of meta-path models: cells, what is run again, the page."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import metapath_run
from benchmarks.__main__ import app
from benchmarks.metapath import Row, Watch, run_seed, seeds_in
from benchmarks.metapath_record import Record, fitting
from benchmarks.metapath_report import MEASURES, Bar, document, judge, write_report
from graphcl.data.digest import graph_digest
from graphcl.errors import InputError
from recsys.config import build, read

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


BARS = """
acm-meow: {title: theirs, source: somewhere, epoch: last, macro_f1: [90, ~, ~], micro_f1: [~, ~, ~], auc: [~, ~, ~]}
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
    (tmp_path / "metapath_bars.yaml").write_text(BARS)
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
    assert fitting(Row.load(row), path).data == graph_digest(Row.load(row).settings.graph.read(home))
    assert set(record["environment"]) >= {"commit", "machine", "packages"}
    assert not list((home / "runs" / "metapath").glob("toy-0-*/"))  # checkpoints go when the record is written
    row.write_text(row.read_text().replace("embedding_size: 8", "embedding_size: 9"))
    with pytest.raises(InputError, match="made with another configuration"):
        fitting(Row.load(row), path)


def test_records_from_before_a_key_have_its_default(home: Path) -> None:
    row = Row.load(home / "configs" / "metapath" / "toy.yaml")
    old = row.identity()
    del old["graph"]["positives"]
    assert row.made(old)
    assert not row.made({**old, "graph": {**old["graph"], "positives": "pos.npz"}})
    del old["graph"]["path"]
    assert not row.made(old) and not row.made({})


def test_a_row_that_is_not_there(home: Path) -> None:
    with pytest.raises(InputError, match="has no row 'tooy'"):
        metapath_run.run(home, ["tooy"], say=print)


def test_a_cell_that_fails_is_named_with_the_cause(home: Path) -> None:
    row = home / "configs" / "metapath" / "toy.yaml"
    row.write_text(row.read_text().replace("paper-author-paper", "paper-venue-paper"))
    said: list[str] = []
    assert metapath_run.run(home, seeds=1, say=said.append) == [("toy", 0)]
    assert "venue" in said[-1]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda text: '{"row"', "is no readable record"),
        (lambda text: "[1]", "is a damaged record"),
        (lambda text: text.replace('"valid"', '"best"'), "is a damaged record .*must give an epoch"),
        (lambda text: text.replace('"seed": 0', '"seed": 1'), "is the record of toy, seed 1; put it back"),
    ],
)
def test_a_damaged_record_is_named_and_kept(home: Path, spoil, sentence: str) -> None:
    said: list[str] = []
    metapath_run.run(home, seeds=1, say=said.append)
    path = home / "results" / "metapath" / "toy-0.json"
    whole = path.read_text()
    path.write_text(spoil(whole))
    (home / "tables").mkdir()
    assert CliRunner().invoke(app, ["list", "--home", str(home)]).exit_code == 0  # it reads no record
    for command in ("report", "verify"):
        ended = CliRunner().invoke(app, [command, "metapath", "--home", str(home)])
        assert isinstance(ended.exception, InputError)
        assert re.search(sentence, str(ended.exception))
    metapath_run.run(home, seeds=1, say=said.append)
    assert (home / "runs" / "metapath" / "superseded" / "toy-0.0.json").read_text() == spoil(whole)
    assert json.loads(path.read_text())["rules"] == json.loads(whole)["rules"]


def test_parts_of_a_record_that_the_page_reads_are_checked(home: Path) -> None:
    row, path = Row.load(home / "configs" / "metapath" / "toy.yaml"), home / "toy-0.json"
    whole = json.dumps(run_seed(row, home, 0, "cpu"))
    path.write_text(whole)
    assert fitting(row, path).seed == 0
    for spoilt, sentence in (
        (whole.replace('"macro_f1@20"', '"macro@20"'), "has no number for macro_f1@20"),
        (re.sub(r'"nmi": [^,]*', '"nmi": NaN', whole), "has no number for nmi"),
        (whole.replace('"valid_macro_f1"', '"valid"'), "without a number for valid_macro_f1"),
        (whole.replace('"system"', '"os"'), "does not say on what machine"),
    ):
        path.write_text(spoilt)
        with pytest.raises(InputError, match=sentence):
            fitting(row, path)


def test_records_of_other_files_of_one_graph_are_refused(home: Path) -> None:
    metapath_run.run(home, seeds=1, say=print)
    with np.load(home / "toy.npz") as arrays:
        changed = dict(arrays)
    np.savez(home / "toy.npz", **changed | {"labels": 1 - changed["labels"]})
    metapath_run.run(home, seeds=2, say=print)
    with pytest.raises(InputError, match=r"toy-0, toy-1 were made from different files of toy\.npz"):
        write_report(home)


def test_a_stopped_training_goes_on_to_the_same_numbers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row.load(home / "configs" / "metapath" / "toy.yaml")
    whole = run_seed(row, home, 0, "cpu")
    folder = home / "checkpoints"
    folder.mkdir()

    def stop(watch: Watch, record: dict) -> None:
        looked(watch, record)
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    looked = Watch.log
    monkeypatch.setattr(Watch, "log", stop)
    with pytest.raises(KeyboardInterrupt):
        run_seed(row, home, 0, "cpu", folder)
    monkeypatch.setattr(Watch, "log", looked)
    resumed = run_seed(row, home, 0, "cpu", folder)
    assert resumed["rules"] == whole["rules"]
    assert (whole["spent"]["sessions"], resumed["spent"]["sessions"]) == (1, 2)  # both are paid for
    assert [without_time(point) for point in resumed["curve"]] == [without_time(point) for point in whole["curve"]]


def without_time(point: dict) -> dict:
    return {key: value for key, value in point.items() if key != "seconds"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("kind: meow", "kind: moew"), r"toy.yaml: model.kind: 'moew' is unknown; did you mean 'meow'"),
        (("model:", "modle:"), r"modle: unknown key"),
        (("bars: [acm-meow]", "bars: [acm-mewo]"), r"toy.bars: 'acm-mewo' is not in .*metapath_bars.yaml"),
    ],
)
def test_mistakes_in_a_row_are_named(home: Path, change: tuple[str, str], sentence: str) -> None:
    path = home / "configs" / "metapath" / "toy.yaml"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(InputError, match=sentence):
        write_report(home)


def test_other_data_than_the_rows_is_refused_before_training_and_in_records(home: Path) -> None:
    path = home / "configs" / "metapath" / "toy.yaml"
    metapath_run.run(home, seeds=1, say=print)
    digest = json.loads((home / "results" / "metapath" / "toy-0.json").read_text())["data"]
    path.write_text(f"{ROW}digest: '{digest}'\n")
    write_report(home)
    path.write_text(f"{ROW}digest: 'ffffffffffffffff'\n")
    with pytest.raises(InputError, match=r"toy-0\.json: is of the digest .* mend the row's digest"):
        write_report(home)
    with pytest.raises(InputError, match="the data here: is of the digest"):
        run_seed(Row.load(path), home, 1, "cpu")


def test_a_record_that_no_row_claims_is_named(home: Path) -> None:
    metapath_run.run(home, seeds=1, say=print)
    record = home / "results" / "metapath" / "toy-0.json"
    record.with_name("gone-0.json").write_bytes(record.read_bytes())
    with pytest.raises(InputError, match=r"gone-0\.json: no row of the table is called 'gone'; remove the record"):
        write_report(home)


def bar_of(*macro_f1: float | None) -> Bar:
    nothing = (None,) * 3
    return Bar(title="theirs", source="somewhere", epoch="last", macro_f1=macro_f1, micro_f1=nothing, auc=nothing)


def test_a_source_is_judged_by_the_rule_that_chose_its_epoch(home: Path) -> None:
    row = Row.load(home / "configs" / "metapath" / "toy.yaml")
    bar = replace(bar_of(None, None, None), epoch="loss")
    ours = record(0, 80.0, 2)
    ours.rules["loss"]["nmi"] = 90.0
    assert judge(row, [ours], "nmi", 90.0, bar).status == "reproduced"
    assert judge(row, [ours], "nmi", 90.0, replace(bar, epoch="last")).status == "below"
    verdict = judge(row, [ours], "nmi", 90.0, replace(bar, epoch=None))
    assert (verdict.status, verdict.ours) == ("not comparable", None)
    assert "does not say how the epoch was chosen" in verdict.reason


def test_verdicts_by_the_last_epoch(home: Path) -> None:
    row = Row.load(home / "configs" / "metapath" / "toy.yaml")
    bar = bar_of(90.0, 90.0, 90.0)

    def status(value: float, bar: Bar = bar) -> str:
        return judge(row, [record(0, value, 4)], "nmi", 90.0, bar).status

    assert [status(value) for value in (90.5, 89.5, 90.6, 89.4)] == ["reproduced", "reproduced", "above", "below"]
    assert judge(row, [], "nmi", 90.0, bar).status == "not run"
    verdict = judge(row, [record(0, 90.0, 4)], "nmi", 90.0, replace(bar, not_comparable="of other data"))
    assert (verdict.status, verdict.reason, verdict.ours) == ("not comparable", "of other data", None)


def test_what_is_not_comparable_stands_below_the_table(home: Path) -> None:
    row = Row.load(home / "configs" / "metapath" / "toy.yaml")
    bar = bar_of(90.0, None, None)
    made = [(row, [record(0, 90.0, 4)])]
    grid, told = document(made, {"acm-meow": replace(bar, not_comparable="of other data")}).sections[1].parts
    assert [line[0] for line in grid.rows] == ["ours, last epoch (epoch 4)"]
    assert told == "- theirs: somewhere. Not comparable: of other data. Macro-F1 20 90.00."


def record(seed: int, value: float, loss_epoch: int) -> Record:
    scores = dict.fromkeys(MEASURES, value)
    tree = {
        "row": "toy",
        "identity": {},
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
    return build(Record, tree, "record")


def test_the_page_gives_means_rules_that_differ_and_verdicts(home: Path) -> None:
    row = Row.load(home / "configs" / "metapath" / "toy.yaml")
    bar = bar_of(90.0, 91.0, None)
    made = [(row, [record(0, 90.0, 4), record(1, 91.0, 2)])]
    section = document(made, {"acm-meow": bar}).sections[1]
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


def test_the_page_shows_what_was_measured_of_time_and_memory(home: Path) -> None:
    (home / "results").mkdir(exist_ok=True)
    measured = {"tables": [{"title": "Growing graphs", "rows": [{"model": "meow", "edges": 100000}]}]}
    (home / "results" / "speed_metapath.json").write_text(json.dumps(measured))
    write_report(home)
    assert "| meow | 100,000 |" in (home / "results" / "metapath.md").read_text().partition("## Speed and memory")[2]


def test_a_bar_has_a_value_or_none_for_each_number_of_labels() -> None:
    with pytest.raises(InputError, match="macro_f1: has 2 values"):
        bar_of(90.0, 91.0)


def test_a_row_that_cannot_be_read_does_not_silence_the_tables(home: Path) -> None:
    (home / "tables").mkdir()
    (home / "configs" / "metapath" / "broken.yaml").write_text("title: [")
    shown = CliRunner().invoke(app, ["list", "--home", str(home)])
    assert isinstance(shown.exception, InputError) and "broken.yaml" in str(shown.exception)
    assert "published values" in shown.output  # the heading of the list


def test_seeds_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="'a' is no list of whole numbers"):
        seeds_in("a")


def test_the_command_line_knows_the_table(home: Path) -> None:
    said = CliRunner().invoke(app, ["report", "metapath", "--home", str(home)])
    assert said.exit_code == 0, said.output
    page = (home / "results" / "metapath.md").read_text()
    assert "## Toy, MEOW" in page and "not run" in page
    metapath_run.run(home, seeds=1, say=print)
    write_report(home)
    assert "<svg" in (home / "results" / "metapath.html").read_text()
    lines = (home / "results" / "metapath.csv").read_text().splitlines()
    assert lines[0] == "row,rule,measure,mean,sd,seeds"
    assert sum(line.startswith("toy,last,") for line in lines) == 5  # three probes, NMI, ARI: it has one split
    assert "\\begin{tabular}" in (home / "results" / "metapath.tex").read_text()
    said = CliRunner().invoke(app, ["verify", "metapath", "--home", str(home)])
    assert said.exit_code == 0 and "metapath: " in said.output


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_row_is_complete(path: Path) -> None:
    bars = {name: build(Bar, tree, name) for name, tree in read(CONFIGS.parents[1] / "metapath_bars.yaml").items()}
    row = Row.load(path)
    assert set(row.settings.bars) <= set(bars)
    assert row.settings.training.train_batch_size >= 10**6  # the whole graph, as published
