import pytest
import yaml
from typer.testing import CliRunner

from graphcl.errors import InputError
from recsys import cli_datasets
from recsys.cli_datasets import app
from recsys.data import entries
from recsys.data.catalog import load_split


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Calls the command line with a catalogue of one entry that is there, one that is not, and a graph."""
    tiny = {
        "title": "eight users",
        "licence": "free",
        "origin": "here",
        "note": "made by a test",
        "sources": [
            {"files": {"d.txt": {}}, "reader": {"kind": "s3rec_text"}},
            {
                "files": {"e.txt": {"url": "https://example.org/e.txt"}},
                "reader": {"kind": "s3rec_text"},
                "checked": False,
            },
        ],
        "splits": {"sequential": {"rule": {"kind": "leave_one_out"}}, "general": {"rule": {"kind": "ratio"}}},
        "filters": [{"kind": "k_core", "user": 2}],
        "expect": {"users": 8, "items": 5, "interactions": 40},
    }
    known = {"tiny": tiny, "far": {**tiny, "sources": [tiny["sources"][1]]}}
    known["net"] = {**tiny, "kind": "graph", "splits": {}, "sources": [{"files": {"graph.npz": {"sha256": "0" * 64}}}]}
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump(known, sort_keys=False))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "d.txt").write_text("".join(f"{user} 1 2 3 4 5\n" for user in range(1, 9)))
    for module in (entries, cli_datasets):
        monkeypatch.setattr(module, "catalogue_path", lambda: tmp_path / "datasets.yaml")
    monkeypatch.setenv("GRAPHCL_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(cli_datasets.console, "_width", 200)

    def call(*arguments):
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return call


def row(output, name):
    return next(line for line in output.splitlines() if name in line).split()


def test_list_says_what_is_where(run):
    output = run("list")
    assert {"8", "5", "40", "here"} <= set(row(output, "tiny"))
    assert " ".join(row(output, "far")).endswith("to download │")
    assert "by hand" in " ".join(row(output, "net"))


def test_prepare_and_verify_name_the_identity_of_each_split(run, tmp_path):
    for command in ("prepare", "verify"):
        output = run(command, "tiny")
        assert f"tiny sequential: train 24, valid 8, test 8; identity {load_split('tiny').digest}" in output
        assert f"identity {load_split('tiny', split='general').digest}" in output
        assert "its identity is not recorded yet" in output
    assert str(tmp_path / "tiny" / "d.txt") in run("prepare", "tiny")


def test_describe_tells_source_terms_counts_and_splits(run):
    output = run("describe", "tiny")
    for part in (
        "eight users",
        "free",
        "made by a test",
        "8 users, 5 items, 40 interactions",
        "kind k_core, user 2",
        "split sequential (default)",
        "kind leave_one_out",
        "https://example.org/e.txt (known by its content)",
        "these very files were not read here",
    ):
        assert part in output


def test_verify_downloads_nothing(run, tmp_path):
    with pytest.raises(InputError, match=r"dataset far: is not in .*/far; run 'recsys datasets prepare far'"):
        run("verify", "far")
    assert not (tmp_path / "far").exists()


def test_verify_checks_the_hashes_of_graphs(run, tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "graph.npz").write_bytes(b"x")
    with pytest.raises(InputError, match=r"graph\.npz: its sha256 is 2d71\w+, not 0{64}"):
        run("verify", "net")


def test_mistakes_are_errors(run):
    for command in ("prepare", "verify", "describe"):
        with pytest.raises(InputError, match=r"'tini' is not in .*did you mean 'tiny'"):
            run(command, "tini")


def test_the_command_line_knows_the_real_catalogue():
    result = CliRunner().invoke(app, ["describe", "ml-100k"])
    assert result.exit_code == 0
    assert "943 users, 1,682 items, 100,000 interactions" in result.output
