"""A small data set as a person would have it, its configuration, and the command line."""

import sys

import pytest
import yaml
from worlds import checkerboard

from recsys import cli


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """A CSV of the checkerboard world, as a person would have it."""
    split = checkerboard()
    path = tmp_path_factory.mktemp("data") / "events.csv"
    whole = split.train + split.valid + split.test
    columns = whole.user.tolist(), whole.item.tolist(), whole.time.tolist()
    rows = [f"u{user},i{item},{time}" for user, item, time in zip(*columns, strict=True)]
    path.write_text("\n".join(["who,what,when", *rows]) + "\n")
    return path


@pytest.fixture
def config(tmp_path, events):
    tree = {
        "dataset": {
            "name": "shop",
            "reader": {"kind": "table", "path": str(events), "user": "who", "item": "what", "time": "when"},
            "split": {"kind": "leave_one_out"},
        },
        "model": {"kind": "lightgcn", "embedding_size": 8},
        "training": {"epochs": 3, "train_batch_size": 64, "learning_rate": 0.05},
        "output": str(tmp_path / "runs"),
    }
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `recsys ARGUMENTS`; returns (status, output, errors)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["recsys", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
