"""Cells: made once, in processes of their own; a kill, a second runner or a spoilt record loses nothing."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks import record as records
from benchmarks.__main__ import main
from benchmarks.aside import set_aside
from benchmarks.board import Board
from benchmarks.cell import Meter, run_cell
from benchmarks.home import Home
from benchmarks.process import Processes, in_parallel
from benchmarks.record_checks import check, load
from benchmarks.run import BoardRunner
from graphcl.errors import InputError
from graphcl.training.lock import locked
from graphcl.training.state import LAST

ROOT = Path(__file__).parents[2]


def stripped(path):
    """A record without what differs from run to run: times and machines."""
    tree = json.loads(path.read_text())
    for epoch in tree["curve"]:
        epoch.pop("seconds")
    return {key: value for key, value in tree.items() if key not in ("spent", "environment")}


def test_a_cell_leaves_a_whole_record(board):
    path = run_cell(board, "mf", 1)
    record = records.read(path)
    assert (record.table, record.row, record.seed, record.users) == ("tiny", "mf", 1, 60)
    assert set(record.test) == {"history", "train"}
    for rule, metrics in record.test.items():
        values = records.per_user(board, "mf", 1, rule, "ndcg@5")
        assert len(values) == 60
        assert values.mean() == pytest.approx(metrics["ndcg@5"], abs=1e-6)
        quarters = [part for name, part in record.slices[rule].items() if name.startswith("users")]
        whole = sum(part["users"] * part["recall@5"] for part in quarters) / 60
        assert whole == pytest.approx(metrics["recall@5"])
    # with the answers of valid among the candidates nothing can get better on this world
    assert record.test["train"]["recall@5"] <= record.test["history"]["recall@5"]
    assert [epoch["epoch"] for epoch in record.curve] == [0, 1, 2]
    assert record.spent.wall_seconds > 0
    assert list(check(board, record, path)) == []
    assert load(board) == {("mf", 1): record}


def test_a_record_of_before_slices_still_loads(board, put):
    path = put("mf", 0, np.linspace(0, 1, 5))
    tree = json.loads(path.read_text())
    del tree["slices"]
    path.write_text(json.dumps(tree))
    assert records.read(path).slices == {}


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda text: text[: len(text) // 2], r"mf-0\.json: is no readable record .*run the cell again"),
        (lambda text: text.replace('"seed": 0', '"seed": "x"'), r"mf-0\.json: is a damaged record \(.*seed"),
        (lambda text: text.replace('"row": "mf"', '"row": "simgcl"'), r"is the record of tiny/simgcl-0, not of"),
        (lambda text: text.replace('"embedding_size": 8', '"embedding_size": 9'), "was made with another config"),
        (
            lambda text: text.replace("0.5", "0.9"),
            r"says recall@5 0\.9000 \(history\), the users in mf-0\.npz have 0\.5",
        ),
        (lambda text: text.replace('"recall@5": 0.5,', ""), r"lacks recall@5 by the masking rule history"),
        (lambda text: text.replace('"machine"', '"engine"'), r"does not say where it was made"),
    ],
)
def test_a_spoilt_record_is_named_by_every_command(put, command, spoil, sentence):
    path = put("mf", 0, np.linspace(0, 1, 5))
    path.write_text(spoil(path.read_text()))
    for name in ("report", "verify"):
        status, _, errors = command(name, "tiny")
        assert status == 1
        assert re.search(sentence, errors), errors


def test_values_of_other_users_are_not_taken_for_a_records_own(put, command, home):
    put("mf", 0, np.linspace(0, 1, 5))
    put("popularity", 0, np.linspace(0, 0.5, 5))
    folder = home / "results" / "tiny"
    (folder / "mf-0.npz").write_bytes((folder / "popularity-0.npz").read_bytes())
    for name in ("report", "verify"):
        status, _, errors = command(name, "tiny")
        assert (status, "mf-0.json: says" in errors) == (1, True)
    (folder / "popularity-0.json").unlink()  # it is of another split than the record that is made now
    status, output, _ = command("run", "tiny", "--rows", "mf", "--seeds", "1")
    assert (status, "it is made again" in output) == (0, True)
    assert command("verify", "tiny")[0] == 0


def test_a_shorter_training_does_not_inherit_the_costs_of_a_longer_one(define):
    for epochs in (3, 1):
        board = define(training={"epochs": epochs, "train_batch_size": 64, "learning_rate": 0.05})
        spent = records.read(run_cell(board, "mf", 0)).spent
        assert spent.sessions == 1
    records.path_of(board, "mf", 0).unlink()
    assert records.read(run_cell(board, "mf", 0)).spent.sessions == 2


def test_a_record_names_the_code_of_every_session(board, monkeypatch):
    for commit in ("aaaa", "bbbb"):
        monkeypatch.setattr("recsys.folder.commit", lambda name=commit: name)
        record = records.read(run_cell(board, "mf", 0))
    assert record.commit == "aaaa, bbbb"
    assert record.environment["commit"] == "aaaa"


def test_a_home_without_tables_is_refused(command, home):
    (home / "tables").rename(home / "elsewhere")
    for arguments in (["list"], ["verify"], ["run", "tiny"]):
        status, _, errors = command(*arguments)
        assert status == 1 and "has no folder 'tables'" in errors


@pytest.mark.parametrize("command_line", [["run", "tiny"], ["run", "metapath"], ["tune", "tiny"]])
def test_a_device_that_nobody_has_is_refused_before_a_cell_starts(command, home, command_line):
    status, output, errors = command(*command_line, "--device", "gpu")
    assert status == 1 and "device: 'gpu' is none of auto, cpu, cuda" in errors
    assert "started" not in output and not (home / "runs").exists()


def test_a_row_that_is_named_twice_runs_once_and_folders_may_be_relative(board, command, home, monkeypatch):
    monkeypatch.chdir(home.parent)
    monkeypatch.setenv("GRAPHCL_DATA", "somewhere")
    arguments = ["run", "tiny", "--rows", "mf,mf", "--seeds", "1", "--jobs", "2", "--home", home.name]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    assert records.read(records.path_of(board, "mf", 0)).spent.sessions == 1


def test_a_record_of_another_split_is_refused(define, put, command):
    define(digest="bbbb")
    put("mf", 0, np.linspace(0, 1, 5))
    status, _, errors = command("report", "tiny")
    assert status == 1
    assert "was made on the split aaaa, the table is on bbbb" in errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "speed"), "is measured by python -m benchmarks.speed"),
        (("tune", "speed"), "is measured by python -m benchmarks.speed"),
        (("tune", "metapath"), "is not tuned; its rows are"),
    ],
)
def test_tables_that_are_made_in_another_way_say_how(command, arguments, sentence):
    status, _, errors = command(*arguments)
    assert (status, sentence in errors) == (1, True), errors


def test_records_of_two_splits_are_refused_where_the_table_names_none(put, command):
    put("mf", 0, np.linspace(0, 1, 5))
    put("mf", 1, np.linspace(0, 1, 5), split="cccc")
    status, _, errors = command("report", "tiny")
    assert status == 1
    assert "2 splits (aaaa: mf-0.json; cccc: mf-1.json); write the digest of one into" in errors
    assert "tiny.yaml" in errors


def test_without_validation_the_training_loss_chooses(define, command):
    split = {"kind": "ratio", "train": 0.8, "valid": 0.0, "test": 0.2}
    board = define(selection="loss", split=split, training={"epochs": 3, "train_batch_size": 64, "learning_rate": 0.05})
    command("run", "tiny", "--rows", "mf", "--seeds", "1")
    record = records.read(records.path_of(board, "mf", 0))
    losses = [sum(epoch["losses"].values()) for epoch in record.curve]
    assert len(losses) == 3
    assert record.outcome["best_epoch"] == min(range(3), key=losses.__getitem__)
    assert record.outcome["best_value"] == pytest.approx(-min(losses), rel=1e-4)
    command("report", "tiny")
    assert "the one of lowest training loss" in (board.home.root / "results" / "tiny.md").read_text()


def test_a_search_without_validation_is_refused(define):
    with pytest.raises(InputError, match="search: needs a validation part"):
        define(selection="loss", search={"trials": 2})


def test_data_of_another_split_is_not_trained_on(define, home):
    board = define(digest="bbbb")
    with pytest.raises(InputError, match="is on the split bbbb, the data here is"):
        run_cell(board, "mf", 0)
    assert not list((home / "results").rglob("*.json"))


def test_records_of_another_commit_are_reported(put, command, caplog, home):
    put("mf", 0, np.linspace(0, 1, 5))
    put("mf", 1, np.linspace(0, 1, 5), environment={**environment(), "commit": "beef"})
    assert command("report", "tiny")[0] == 0
    assert "2 commits" in caplog.text
    page = (home / "results" / "tiny.md").read_text()
    assert "c0ffee, beef" in page


def environment():
    machine = {"system": "Linux", "cores": 2, "threads": 1, "gpu": None}
    return {"commit": "c0ffee", "python": "3", "packages": {}, "machine": machine}


def variant(**row):
    """Rows with MF and a variant."""
    return {"mf": {"model": {"kind": "mf", "embedding_size": 8}}, "small": row}


def test_a_variant_has_what_is_found_for_its_row(define, command, home):
    board = define(
        rows=variant(variant_of="mf", model={"embedding_size": 4}, training={"epochs": 2}),
        search={"trials": 1, "space": {"learning_rate": [0.05]}},
    )
    found = {"trials": 1, "best": 0, "value": 0.1, "seconds": 1, "epochs": 1, "training": {"learning_rate": 0.07}}
    board.home.found("tiny", "mf").parent.mkdir(parents=True)
    board.home.found("tiny", "mf").write_text(yaml.safe_dump(found))
    experiment = board.experiment("small", 0)
    assert (experiment.training.learning_rate, experiment.training.epochs) == (0.07, 2)
    assert experiment.config.embedding_size == 4
    assert list(board.seeds("small", 2)) == [0, 1]
    assert command("tune", "tiny", "--rows", "small", "--device", "cpu")[0] == 0
    assert board.found("small") is None


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"variant_of": "mff", "model": {}}, "'mff' must be a row with a model of its own"),
        ({"variant_of": "small", "model": {}}, "'small' must be a row with a model of its own"),
        ({"variant_of": "mf", "model": "mf"}, "a variant has the keys of `model` that differ"),
        ({"variant_of": "mf", "model": {"kind": "mf"}}, "a variant has the keys of `model` that differ"),
    ],
)
def test_a_variant_of_nothing_is_refused(define, row, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        define(rows=variant(**row))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "tyny"), "table 'tyny' is unknown; did you mean 'tiny'"),
        (("report", "tyny"), "table 'tyny' is unknown"),
        (("verify", "tyny"), "table 'tyny' is unknown"),
        (("run", "tiny", "--rows", "simgc"), "row 'simgc' is not in table tiny; did you mean 'simgcl'"),
        (("run", "tiny", "--rows", "paper"), "is only known from publications; it cannot be run"),
        (("tune", "tiny"), "has no block 'search'"),
    ],
)
def test_unknown_names_are_one_sentence(board, command, arguments, sentence):
    status, _, errors = command(*arguments)
    assert status == 1
    assert sentence in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_record_that_does_not_fit_any_more_is_kept_aside(define, put, command, home):
    put("popularity", 0, np.linspace(0, 1, 5))
    old = (home / "results" / "tiny" / "popularity-0.json").read_text()
    define(monitor="recall@5")  # another way to choose the epoch: another experiment
    status, output, _ = command("run", "tiny", "--rows", "popularity", "--device", "cpu")
    assert status == 0, output
    assert "was made with another configuration" in output
    assert (home / "runs" / "tiny" / "superseded" / "popularity-0.0.json").read_text() == old
    assert (home / "runs" / "tiny" / "superseded" / "popularity-0.0.npz").exists()
    status, output, _ = command("run", "tiny", "--rows", "popularity", "--device", "cpu")
    assert "1 of 1 cells have their record" in output


def test_a_record_is_set_aside_only_when_its_new_one_is_made(define, put, command, home, monkeypatch):
    put("popularity", 0, np.linspace(0, 1, 5))
    define(monitor="recall@5")
    monkeypatch.setattr(Processes, "run", lambda self, arguments, log, lock: log.write_text("no space left"))
    status, output, _ = command("run", "tiny", "--rows", "popularity")
    assert status == 1 and "it is made again" in output and "no space left" in output
    assert (home / "results" / "tiny" / "popularity-0.json").exists()


def test_records_of_another_split_are_refused_where_they_lie(define, put, command, home):
    put("popularity", 0, np.linspace(0, 1, 5))
    define(digest="bbbb")
    status, _, errors = command("run", "tiny", "--rows", "popularity")
    assert status == 1 and "was made on the split aaaa, the table is on bbbb" in errors
    assert sorted(path.name for path in (home / "results" / "tiny").iterdir()) == [
        "popularity-0.json",
        "popularity-0.npz",
    ]


def test_a_cell_without_its_users_is_run_again(put, command, home):
    put("popularity", 0, np.linspace(0, 1, 5)).with_suffix(".npz").unlink()
    status, output, _ = command("run", "tiny", "--rows", "popularity", "--seeds", "1", "--device", "cpu")
    assert status == 0 and "popularity-0.npz: is not here, so that nothing confirms" in output
    assert (home / "results" / "tiny" / "popularity-0.npz").exists()


def test_a_record_without_its_users_is_believed_by_nobody(put, command):
    put("popularity", 0, np.linspace(0, 1, 5)).with_suffix(".npz").unlink()
    for name in ("report", "verify"):
        status, _, errors = command(name, "tiny")
        assert (status, "popularity-0.npz: is not here, so that nothing confirms" in errors) == (1, True)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: np.save(path.open("wb"), np.zeros(3)), "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: respell(path, user=np.zeros(5, np.int32)), "names users twice"),
        (lambda path: respell(path, **{"history/ndcg@5": np.full(5, 2.0)}), "ndcg@5 .history. below 0 or above 1"),
    ],
)
def test_values_of_users_that_are_damaged_are_named(put, command, damage, sentence):
    damage(put("popularity", 0, np.linspace(0, 1, 5)).with_suffix(".npz"))
    for name in ("report", "verify"):
        status, _, errors = command(name, "tiny")
        assert status == 1 and re.search(f"popularity-0.npz.*{sentence}", errors), errors


def respell(path, **arrays):
    """Replace some arrays of an npz."""
    with np.load(path) as old:
        arrays = {**old, **arrays}
    np.savez(path, **arrays)


def test_a_record_of_bottomless_json_is_damaged(put, command):
    put("popularity", 0, np.linspace(0, 1, 5)).write_text("[" * 100_000)
    status, _, errors = command("verify", "tiny")
    assert (status, "is no readable record" in errors) == (1, True)


def test_a_curve_that_was_lost_makes_no_record(board, home):
    run_cell(board, "mf", 0).unlink()
    (metrics,) = (home / "runs" / "tiny" / "mf-0").glob("*/metrics.jsonl")
    metrics.write_text("{")
    with pytest.raises(InputError, match=r"metrics.jsonl: has lost epochs; delete the folder"):
        run_cell(board, "mf", 0)
    assert not records.path_of(board, "mf", 0).exists()


@pytest.mark.parametrize("name", ["environment.json", "spent-*.json"])
def test_a_damaged_file_of_a_run_is_named(board, home, name):
    run_cell(board, "mf", 0).unlink()
    (damaged,) = (home / "runs" / "tiny" / "mf-0").rglob(name)
    damaged.write_text('{"a')
    with pytest.raises(InputError, match=f"{damaged.name}: is damaged"):
        run_cell(board, "mf", 0)


def test_a_runner_that_is_ended_does_not_call_its_cells_failed(board, home):
    said = []
    runner = BoardRunner(board, say=said.append)
    processes = Processes()
    processes.end()
    with locked(home / "lock", "this") as lock:
        assert runner.start("popularity", 0, lock, processes)
    assert said[-1] == "popularity, seed 0: interrupted; the same command goes on"


def test_a_folder_that_cannot_be_made_is_one_sentence(board, command, home):
    (home / "runs").write_text("a file")
    for name in ("run", "tune"):
        status, _, errors = command(name, "tiny")
        assert status == 1 and "Traceback" not in errors
    (home / "results").write_text("a file")
    status, _, errors = command("report", "tiny")
    assert (status, "results: cannot be made" in errors) == (1, True)


@pytest.mark.parametrize("name", ["a/b", "../x", "", " a ", "a,b", "--device", "_a", 1, None, True])
def test_rows_are_called_what_files_can_be_called(define, name):
    with pytest.raises(InputError, match=f"rows: {re.escape(repr(name))} cannot name files"):
        define(rows={name: {"model": "popularity"}})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"metrics": []}, "metrics: name at least one"),
        ({"metrics": ["ndcg@5", "recall@5", "ndcg@5"]}, "ndcg@5 is named twice"),
        ({"confidence": 1.0}, r"confidence: must be in \(0, 1\)"),
        ({"dataset": "ml-100"}, "dataset: 'ml-100' is not in datasets.yaml; did you mean 'ml-100k'"),
        ({"dataset": "ml-100k", "split": "leave_on_out"}, "has no split 'leave_on_out'; did you mean 'leave_one_out'"),
        ({"search": {"space": {"learning_rat": [0.1]}}}, "space.learning_rat: no row has this key; did you mean 'lear"),
        ({"search": {"space": {"learning_rate": [-1.0]}}}, "rows.mf: search.*learning_rate"),
        ({"search": {"space": {"temperature": {"low": 0.0, "high": 1.0}}}}, "rows.simgcl: search.*temperature"),
        ({"search": {"space": {"temperature": {"low": 0.1, "high": float("inf")}}}}, "must rise, be finite"),
        ({"dataset": "acm"}, "'acm' is a graph, not interactions"),
        ({"rows": {"mf": {"model": {"kind": ["mf"]}}}}, "rows.mf: .*kind"),
        ({"rows": {"sasrec": {"model": "sasrec"}}}, "rows.sasrec: the masking rule 'train' is for general models"),
        (
            {"rows": {"mf": {"model": "mf", "search": {"temperature": [0.1]}}}},
            "rows.mf: search.temperature: unknown key",
        ),
    ],
)
def test_mistakes_in_a_table_are_named_before_anything_runs(define, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        define(**changes)


def test_values_that_only_together_do_not_fit_are_left_to_the_search(define, command):
    ncl = {"kind": "ncl", "embedding_size": 4, "n_clusters": 2}  # contrasts with layer 2, which one layer has not
    space = {"model.n_layers": [1, 2], "cl_layer": [2]}
    rows = {"ncl": {"model": ncl}, "popularity": {"model": "popularity"}}
    board = define(rows=rows, search={"trials": 2, "epochs": 1, "space": space})
    status, output, errors = command("tune", "tiny", "--device", "cpu")
    assert (status, "popularity: has none of the keys" in output) == (0, True), errors
    assert board.found("ncl").trials == 2
    assert command("list")[0] == 0 and command("report", "tiny")[0] == 0


def test_what_a_search_would_overwrite_is_kept(define, command, home):
    board = define(search={"trials": 1, "epochs": 1, "space": {"learning_rate": [0.05]}})
    path = home / "configs" / "tiny" / "mf.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("{trials: 1, best: 0, value: 0.1, seconds: 1, epochs: 1, training: {learning_rate: 0.7}}")
    assert command("tune", "tiny", "--rows", "mf", "--device", "cpu")[0] == 0
    assert board.found("mf").training == {}
    assert "0.7" in (home / "runs" / "tiny" / "tuning" / "superseded" / "mf.0.yaml").read_text()


def test_a_variant_is_not_credited_with_a_search(define, home):
    (home / "configs" / "tiny").mkdir(parents=True)
    (home / "configs" / "tiny" / "v.yaml").write_text("{trials: 50, best: 0, value: 0.1, seconds: 1, epochs: 1}")
    mf = {"title": "MF", "model": {"kind": "mf", "embedding_size": 8}}
    with pytest.raises(InputError, match=r"v.yaml: the table has no row of this name that could be searched"):
        define(rows={"mf": mf, "v": {"variant_of": "mf", "model": {"embedding_size": 4}}})


def test_a_training_whose_epochs_were_lost_does_not_go_on(board, home, monkeypatch):
    def stop(self, record):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Meter, "tick", stop)
        run_cell(board, "mf", 0)
    (metrics,) = (home / "runs" / "tiny" / "mf-0").glob("*/metrics.jsonl")
    metrics.write_text('[]\n{"epoch": 1}\n')
    with pytest.raises(InputError, match=r"metrics.jsonl: has lost epochs; delete the folder"):
        run_cell(board, "mf", 0)


def test_what_was_found_for_no_row_is_named(board, home):
    (home / "configs" / "tiny").mkdir(parents=True)
    (home / "configs" / "tiny" / "simgl.yaml").write_text("trials: 1")
    with pytest.raises(
        InputError, match=r"simgl.yaml: the table has no row of this name that could be searched; did you mean 'simgcl'"
    ):
        Board.load("tiny", Home(home))


def test_data_of_a_second_split_adds_no_record(put, command, home):
    put("popularity", 0, np.linspace(0, 1, 5))
    status, output, _ = command("run", "tiny", "--rows", "mf", "--seeds", "1", "--device", "cpu")
    assert (status, "its records are of the split aaaa, the data here is" in output) == (1, True)
    assert not (home / "results" / "tiny" / "mf-0.json").exists()
    put("mf", 0, np.linspace(0, 1, 5), split="bbbb")
    status, _, errors = command("run", "tiny")
    assert (status, "its records are of 2 splits" in errors) == (1, True)


def test_nothing_set_aside_is_overwritten(tmp_path):
    folder = tmp_path / "kept"
    for text in ("first", "second"):
        (tmp_path / "mf-0.json").write_text(text)
        set_aside([tmp_path / "mf-0.json"], folder)
    (folder / "mf-0.0.json").unlink()
    for text in ("third", "fourth"):
        (tmp_path / "mf-0.json").write_text(text)
        set_aside([tmp_path / "mf-0.json"], folder)
    kept = {path.name: path.read_text() for path in folder.iterdir()}
    assert kept == {"mf-0.0.json": "third", "mf-0.1.json": "second", "mf-0.2.json": "fourth"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_of_the_runner_alone_ends_its_cells(tmp_path, request, number):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    program = tmp_path / "sleeper.py"
    program.write_text("import time\ntime.sleep(60)\n")

    def work(cell, cells):
        threading.Timer(1.0, os.kill, (os.getpid(), number)).start()
        process = subprocess.Popen([sys.executable, str(program)])
        cells.running.add(process)
        return process.wait()

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        in_parallel(work, ["only"], 1)
    assert time.monotonic() - started < 30
    assert signal.getsignal(signal.SIGTERM) is not signal.default_int_handler


def test_two_runners_on_one_table_do_not_meet(board, command, home):
    lock = home / "runs" / "tiny" / ".lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as other:
        other.write("4711\n")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        status, _, errors = command("run", "tiny")
        assert status == 1
        assert "table tiny is being run by process 4711" in errors
        assert command("report", "tiny")[0] == 0  # looking is allowed
    assert not (home / "results" / "tiny").exists()


def test_two_processes_on_one_cell_do_not_meet(board, home):
    lock = home / "runs" / "tiny" / "mf-0" / ".lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="cell mf, seed 0, of table tiny is being run by process unknown"):
            run_cell(board, "mf", 0)


def test_what_a_runner_started_holds_its_lock_when_it_is_gone(tmp_path):
    path = tmp_path / ".lock"
    with locked(path, "it") as lock:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    with pytest.raises(InputError, match=f"it is being run by process {os.getpid()}"), locked(path, "it"):
        pass
    child.communicate(b"\n")
    with locked(path, "it"):
        pass


def test_relative_paths_of_a_table_count_from_where_the_runner_started(tmp_path, monkeypatch, command, home):
    rows = [f"u{user},i{(user * step) % 7},{step}" for user in range(9) for step in range(1, 6)]
    (tmp_path / "own.csv").write_text("\n".join(["user,item,time", *rows]) + "\n")
    reader = {"kind": "table", "path": "own.csv", "user": "user", "item": "item", "time": "time"}
    dataset = {"name": "own", "reader": reader, "split": {"kind": "leave_one_out"}}
    table = {"title": "Own", "dataset": dataset, "digest": None, "masking": ["history"], "seeds": 1}
    table |= {"metrics": ["recall@3"], "monitor": "recall@3", "rows": {"popularity": {"model": "popularity"}}}
    (home / "tables" / "own.yaml").write_text(yaml.safe_dump(table))
    monkeypatch.chdir(tmp_path)
    assert command("run", "own", "--device", "cpu")[0] == 0


def test_a_cell_that_fails_does_not_stop_the_others(define, command, home):
    rows = {
        "mf": {"model": {"kind": "mf", "embedding_size": 8}, "training": {"learning_rate": 1e30}},
        "popularity": {"model": "popularity"},
    }
    define(rows=rows, seeds=1)
    status, output, errors = command("run", "tiny", "--device", "cpu")
    assert status == 1
    assert "mf, seed 0: failed with status 1: error: " in output
    assert "1 cells failed" in errors
    assert [path.name for path in (home / "results" / "tiny").glob("*.json")] == ["popularity-0.json"]


def test_a_search_freezes_what_it_finds(define, put, command, home):
    put("mf", 0, np.linspace(0, 1, 5))
    board = define(
        search={"trials": 2, "epochs": 2, "patience": 2, "space": {"learning_rate": [0.05]}},
        training={"epochs": 3, "train_batch_size": 64, "learning_rate": 1e-9},
    )
    status, _, errors = command("tune", "tiny", "--rows", "mf,popularity", "--device", "cpu")
    assert status == 0, errors
    found = board.found("mf")
    assert (found.trials, found.best, found.epochs, found.training) == (2, 1, 2, {"learning_rate": 0.05})
    assert board.found("popularity") is None  # there is nothing to search
    kept = [json.loads(line) for line in (home / "results" / "tiny" / "tuning" / "mf.jsonl").read_text().splitlines()]
    assert [trial["number"] for trial in kept] == [0, 1]
    assert found.value == kept[1]["value"] > kept[0]["value"]
    frozen = board.experiment("mf", 0).training
    assert (frozen.learning_rate, frozen.epochs) == (0.05, 3)  # the search is shorter than the training
    assert command("report", "tiny")[0] == 0  # with 0.05 the record was made, too
    define(search={"trials": 1, "epochs": 1, "patience": 1, "space": {"learning_rate": [0.04]}})
    assert command("tune", "tiny", "--rows", "mf", "--device", "cpu")[0] == 0
    assert (home / "runs" / "tiny" / "tuning" / "mf.0" / "trials.jsonl").exists()  # the earlier search is kept
    superseded = home / "runs" / "tiny" / "tuning" / "superseded"
    assert len((superseded / "mf.0.jsonl").read_text().splitlines()) == len(kept)  # and what was committed of it
    assert yaml.safe_load((superseded / "mf.0.yaml").read_text())["trials"] == 2
    define()
    other = {"trials": 1, "best": 0, "value": 0.1, "seconds": 1, "epochs": 1, "training": {"learning_rate": 0.1}}
    (home / "configs" / "tiny" / "mf.yaml").write_text(yaml.safe_dump(other))
    status, _, errors = command("report", "tiny")
    assert (status, "was made with another configuration" in errors) == (1, True)


def test_a_search_on_another_split_is_refused(define, command, home):
    board = define(digest="bbbb", search={"trials": 1, "space": {"learning_rate": [0.05]}})
    status, _, errors = command("tune", "tiny", "--rows", "mf", "--device", "cpu")
    assert (status, "is on the split bbbb" in errors) == (1, True)
    assert board.found("mf") is None


def test_a_killed_cell_goes_on_and_ends_as_if_nothing_had_happened(define, home):
    board = define(training={"epochs": 8, "patience": 8, "train_batch_size": 64, "learning_rate": 0.001})
    folder = home / "runs" / "tiny" / "simgcl-0"
    command = [sys.executable, "-m", "benchmarks", "cell", "tiny", "simgcl", "0", "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--home", str(home)], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE
    )
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None and epochs(folder) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = epochs(folder)
    assert 2 <= done < 8, f"the kill came too late or too early, after {done} epochs: {process.stderr.read()}"
    assert not (home / "results" / "tiny").exists()

    interrupted = run_cell(board, "simgcl", 0, device="cpu")
    record = records.read(interrupted)
    assert record.spent.sessions == 2
    assert [epoch["epoch"] for epoch in record.curve] == list(range(8))
    kept = stripped(interrupted)
    (home / "runs").rename(home / "runs-of-before")
    assert stripped(run_cell(board, "simgcl", 0, device="cpu")) == kept


def epochs(folder):
    """How many epochs the only run in `folder` has recorded."""
    return sum(len(path.read_text().splitlines()) for path in folder.glob("*/metrics.jsonl"))


def test_a_table_without_rows_is_refused_and_nothing_is_made(command, home):
    for words in (("run", "metapath"), ("report", "metapath"), ("verify", "metapath")):
        status, _, errors = command(*words)
        assert status == 1 and "table metapath: has no row" in errors
    assert sorted(path.name for path in home.iterdir()) == ["tables"]


def test_one_broken_table_does_not_silence_the_others(define, put, command, home):
    board = define(title="Shop [/v2] of :100:")
    put("mf", 0, np.linspace(0, 1, 5), board=board)
    (home / "tables" / "bad.yaml").write_text("title: Bad\nmonitr: x\n")
    for word, seen in (("list", "Shop [/v2] of :100:"), ("verify", "tiny: "), ("report", "tiny.md")):
        status, output, errors = command(word)
        assert status == 1 and "bad.monitr: unknown key" in errors and seen in output


def test_rows_that_are_commas_alone_are_refused(board, command):
    status, _, errors = command("run", "tiny", "--rows", ",")
    assert status == 1 and "',' names no row" in errors


def test_what_an_abandoned_training_cost_is_not_of_the_next(tmp_path):
    """As long as the folder has no checkpoint the training is a new one; afterwards it goes on."""
    costs = tmp_path / "spent.json"
    spent = {"wall_seconds": 9.0, "cpu_seconds": 8.0, "peak_memory_mib": 1e6, "sessions": 3, "commits": ["old"]}
    for name, sessions in (("new", 1), (LAST, 4)):
        costs.write_text(json.dumps(spent))
        (tmp_path / name).touch()
        meter = Meter(costs)
        meter.begin(tmp_path)
        found = meter.save()
        assert found.sessions == sessions and ("old" in found.commits) == (found.cpu_seconds >= 8) == (sessions == 4)


def test_a_record_of_code_that_no_commit_has_is_named(put, command, caplog):
    put(
        "mf",
        0,
        np.linspace(0, 1, 5),
        spent=records.Spent(wall_seconds=1, cpu_seconds=1, peak_memory_mib=1, commits=("abc-dirty",)),
    )
    assert command("verify", "tiny")[0] == 0
    assert "no commit has the code of mf-0.json" in caplog.text
