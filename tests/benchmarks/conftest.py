"""A table over a tiny world, in a home of its own."""

import sys

import pytest
import yaml
from worlds import checkerboard

from benchmarks import __main__ as benchmarks
from benchmarks.board import Board
from benchmarks.home import Home
from benchmarks.record import Record, Spent, write

METRICS = ["recall@5", "ndcg@5"]


@pytest.fixture(scope="session")
def events(tmp_path_factory):
    """A CSV of the checkerboard world."""
    split = checkerboard()
    path = tmp_path_factory.mktemp("world") / "events.csv"
    whole = split.train + split.valid + split.test
    columns = whole.user.tolist(), whole.item.tolist(), whole.time.tolist()
    rows = [f"u{user},i{item},{time}" for user, item, time in zip(*columns, strict=True)]
    path.write_text("\n".join(["user,item,time", *rows]) + "\n")
    return path


def definition(events, **changes):
    """The table's tree; `changes` replace keys."""
    return {
        "title": "A tiny world",
        "dataset": {
            "name": "tiny",
            "reader": {"kind": "table", "path": str(events), "user": "user", "item": "item", "time": "time"},
            "split": {"kind": "leave_one_out"},
        },
        "digest": None,
        "masking": ["history", "train"],
        "metrics": METRICS,
        "monitor": "ndcg@5",
        "seeds": 2,
        "training": {"epochs": 3, "train_batch_size": 64, "learning_rate": 0.05},
        "rows": {
            "popularity": {"title": "Popularity", "model": "popularity", "baseline": True},
            "mf": {"title": "MF", "model": {"kind": "mf", "embedding_size": 8}, "baseline": True},
            "simgcl": {"title": "SimGCL & <more>", "model": {"kind": "simgcl", "embedding_size": 8}},
            "paper": {"title": "Only in print"},
        },
        **changes,
    }


@pytest.fixture
def home(tmp_path):
    (tmp_path / "tables").mkdir()
    return tmp_path


@pytest.fixture
def define(home, events):
    """Write `tiny.yaml` with changed keys; returns its board."""

    def make(**changes):
        (home / "tables" / "tiny.yaml").write_text(yaml.safe_dump(definition(events, **changes), sort_keys=False))
        return Board.load("tiny", Home(home))

    return make


@pytest.fixture
def board(define):
    return define()


@pytest.fixture
def command(monkeypatch, capsys, home):
    """Run `python -m benchmarks ARGUMENTS` in this process; returns (status, output, errors)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, arguments), "--home", str(home)])
        monkeypatch.setenv("COLUMNS", "250")
        status = 0
        try:
            benchmarks.main()
        except SystemExit as stop:
            status = stop.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def put(board):
    """Write a record whose users have given values by all masking rules, or by each, without any training."""

    def make(row, seed, values, *, board=board, **changes):
        import pandas as pd

        by_rule = values if isinstance(values, dict) else dict.fromkeys(board.table.masking, values)
        frames = {rule: pd.DataFrame(dict.fromkeys(METRICS, column)) for rule, column in by_rule.items()}
        tree = {key: value for key, value in board.experiment(row, seed).tree().items() if key != "output"}
        record = {
            "table": board.name,
            "row": row,
            "seed": seed,
            "split": "aaaa",
            "protocol": {"dataset": "tiny"},
            "users": len(next(iter(frames.values()))),
            "config": tree,
            "test": {rule: frame.mean().to_dict() for rule, frame in frames.items()},
            "slices": {},
            "outcome": {"best_epoch": 1, "best_value": 0.5, "last_epoch": 2, "cause": "epochs"},
            "curve": [{"epoch": epoch, "metrics": {"ndcg@5": 0.1 * epoch}} for epoch in range(3)],
            "parameters": 10,
            "environment": {
                "commit": "c0ffee",
                "python": "3",
                "packages": {"torch": "2"},
                "machine": {"system": "Linux", "cores": 2, "threads": 1, "gpu": None},
            },
            "spent": Spent(wall_seconds=2, cpu_seconds=1, peak_memory_mib=100),
        }
        return write(board, Record(**{**record, **changes}), frames)

    return make
