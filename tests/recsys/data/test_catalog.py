import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml

from graphcl.errors import InputError
from recsys.data import entries, fetch
from recsys.data.catalog import content_of, files, load_events, load_split, split_interactions
from recsys.data.entries import catalogue, catalogue_path, find_entry
from recsys.data.interactions import Interactions, Released

ROOT = Path(__file__).parents[3]


@pytest.fixture
def csv(tmp_path):
    rows = [f"u{user},i{(user * 3 + step) % 20},{step},{user % 5 + 1}" for user in range(30) for step in range(10)]
    path = tmp_path / "events.csv"
    path.write_text("user,item,time,stars\n" + "\n".join(rows) + "\n")
    return {"kind": "table", "path": str(path), "time": "time", "value": "stars"}


def test_own_files_are_divided_and_described(csv):
    split = load_split({"reader": csv, "name": "mine"})
    assert [len(part) for part in (split.train, split.valid, split.test)] == [240, 30, 30]
    assert dict(split.protocol) == {
        "dataset": "mine",
        "filters": "none",
        "split": "0.8 : 0.1 : 0.1 of each user's events, at random, seed 2020",
        "cold": "every test user and item has training interactions",
    }
    assert split.train.user_ids[:3] == ("u0", "u1", "u10")


def test_own_filters_and_splits(csv):
    data = {"reader": csv, "filters": [{"kind": "rating", "at_least": 3}, "k_core"], "split": {"kind": "leave_one_out"}}
    split = load_split(data)
    assert len(split.test) == 18
    assert split.protocol["filters"] == "ratings >= 3; core of 5 events per user, 5 per item"
    assert load_split(data, filters=[]).train.num_users == 30
    assert len(load_split(data, split={"kind": "global_time", "valid": 0.2, "test": 0.2}).test) == 36
    assert load_split({**data, "split": "leave_one_out"}).digest == split.digest


def test_own_files_for_sequential_models_hold_out_what_came_last(csv):
    split = load_split({"reader": csv}, task="sequential")
    assert split.digest == load_split({"reader": csv, "split": "leave_one_out"}).digest
    assert load_split({"reader": csv, "split": "ratio"}, task="sequential").digest == load_split({"reader": csv}).digest
    assert load_split("ml-100k", task="sequential").digest == load_split("ml-100k", split="sequential").digest


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"path": {"train": None, "test": "a.csv"}}, r"dataset\.reader\.path\.train: must name a file"),
        ({"path": {"train": 5, "test": "a.csv"}}, r"dataset\.reader\.path\.train: .* got 5"),
        ({"path": ""}, r"dataset\.reader\.path: must name a file"),
        ({"encoding": "utf9"}, "'utf9' is unknown"),
        ({"columns": []}, "columns: names none"),
    ],
)
def test_mistakes_of_a_reader(csv, keys, sentence):
    with pytest.raises(InputError, match=sentence):
        load_split({"reader": {**csv, **keys}})


def test_interactions_in_memory_are_divided_as_files_are(csv):
    events = Interactions.from_dataframe(pd.read_csv(csv["path"]), time="time", value="stars")
    split = split_interactions(events, split="leave_one_out", filters=["k_core"], name="mine")
    assert split.digest == load_split({"reader": csv, "split": "leave_one_out", "filters": ["k_core"]}).digest
    assert split.protocol["dataset"] == "mine"
    released = split_interactions(Released(split.train, split.test, split.valid), split="as_released")
    assert released.digest == split.digest


def test_expected_counts_are_checked(csv):
    data = {"reader": csv, "expect": {"users": 30, "items": 20, "interactions": 300}}
    load_split(data)
    data["expect"]["items"] = 21
    with pytest.raises(InputError, match="dataset own data: has 20 items where 21 are expected; it is another version"):
        load_split(data)
    load_split(data, filters=[])


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            {"reader": {"kind": "tabel", "path": "x"}},
            ["dataset.reader.kind: 'tabel' is unknown; did you mean 'table'?"],
        ),
        ({"reader": {"kind": "table"}}, ["dataset.reader.path: must name a file"]),
        ({"reader": {"kind": "table", "path": {"trian": "x"}}}, ["path: give one file, or a file for each part"]),
        ({"raeder": {}}, ["dataset.raeder: unknown key; did you mean 'reader'?"]),
        ({"split": {"kind": "loo"}}, ["split.kind: 'loo' is unknown"]),
        (
            {"split": {"kind": "ratio", "tran": 0.8, "valid": 1.5}},
            ["split.tran: unknown key; did you mean 'train'?", "split.valid: must be in [0, 1] (got 1.5)"],
        ),
        ({"split": {"kind": "ratio", "test": 0.5}}, ["split: train 0.8 + valid 0.1 + test 0.5 must make 1"]),
        ({"filters": [{"kind": "k_core", "user": -1}]}, ["filters[0].user: must be >= 0 (got -1)"]),
        ({"filters": ["k_core", {"kind": "rating"}]}, ["filters[1]: the filter 'rating' needs at_least or at_most"]),
        ({"split": {"kind": "as_released"}}, ["this data is one piece, use ratio"]),
        ({"expect": {"user": 3}}, ["dataset.expect.user: unknown key; did you mean 'users'?"]),
    ],
)
def test_every_mistake_in_a_description_is_named(csv, change, sentences):
    with pytest.raises(InputError) as caught:
        load_split({"reader": csv, **change})
    for sentence in sentences:
        assert sentence in str(caught.value)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(InputError, match=r"dataset: 'ml100k' is not in datasets\.yaml; did you mean 'ml-100k'\?"):
        load_split("ml100k")
    with pytest.raises(InputError, match=r"split: ml-100k has no split 'sequentail'; did you mean 'sequential'\?"):
        load_split("ml-100k", split="sequentail")
    with pytest.raises(InputError, match="'acm' is a graph, not interactions"):
        load_split("acm")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A catalogue with one entry, whose file is in the data folder; `write(**changes)` changes the entry."""
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    (folder / "d.txt").write_text("".join(f"{user} 1 2 3 4 5\n" for user in range(1, 9)))
    monkeypatch.setenv("GRAPHCL_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(entries, "catalogue_path", lambda: tmp_path / "datasets.yaml")

    def write(**changes):
        tree = {
            "title": "t",
            "licence": "l",
            "origin": "o",
            "sources": [{"files": {"d.txt": {}}, "reader": {"kind": "s3rec_text"}}],
            "splits": {"sequential": {"rule": {"kind": "leave_one_out"}}, "general": {"rule": {"kind": "ratio"}}},
            **changes,
        }
        (tmp_path / "datasets.yaml").write_text(yaml.safe_dump({"tiny": tree}, sort_keys=False))
        entries.read_catalogue.cache_clear()

    write()
    return write


def test_an_entry_with_what_it_records_is_accepted(tiny):
    split = load_split("tiny")
    content = content_of(load_events("tiny", find_entry("tiny")))
    named = {"rule": {"kind": "leave_one_out"}, "train": 24, "valid": 8, "test": 8, "digest": split.digest}
    tiny(content=content, splits={"sequential": named}, expect={"users": 8, "items": 5, "interactions": 40})
    assert load_split("tiny").digest == split.digest


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"expect": {"users": 9}}, "dataset tiny: has 8 users where 9 are expected"),
        (
            {"expect": {"items": 4, "interactions": 41}},
            "has 5 items where 4 are expected, 40 interactions where 41 are",
        ),
        (
            {"splits": {"s": {"rule": {"kind": "leave_one_out"}, "train": 25}}},
            "dataset tiny: has 24 train where 25 are expected",
        ),
        ({"splits": {"s": {"rule": {"kind": "leave_one_out"}, "digest": "0" * 16}}}, "hashes to .* not to 0{16}"),
        ({"content": "0" * 16}, r"hold other data \(content \w{16}\)"),
        ({"filters": [{"kind": "k_core", "item": 9}]}, "nothing of 40 interactions is left"),
    ],
)
def test_a_difference_to_what_is_recorded_is_an_error(tiny, changes, sentence):
    tiny(**changes)
    with pytest.raises(InputError, match=sentence):
        load_split("tiny")


def test_records_of_the_entry_hold_for_its_own_filters_and_splits_only(tiny):
    tiny(
        expect={"interactions": 40},
        splits={"s": {"rule": {"kind": "leave_one_out"}, "train": 24, "digest": "0" * 16}},
    )
    assert len(load_split("tiny", split={"kind": "ratio"}).train) < 40
    assert len(load_split("tiny", filters=[{"kind": "min_count", "user": 1}]).train) == 24
    for known in ("s", "leave_one_out", {"kind": "leave_one_out", "short": "refuse"}):
        with pytest.raises(InputError, match="hashes to"):
            load_split("tiny", split=known)


def test_an_entry_without_address_says_where_to_put_its_file(tiny, tmp_path):
    (tmp_path / "data" / "tiny" / "d.txt").unlink()
    with pytest.raises(
        InputError, match=r"dataset tiny: d\.txt cannot be downloaded in this form; put it into .*/data/tiny"
    ):
        files("tiny")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"licence": None}, r"datasets\.yaml: tiny\.licence: input should be a valid string"),
        ({"sources": [{"file": {}}]}, r"tiny\.sources\[0\]\.file: unknown key; did you mean 'files'"),
        ({"splits": {"s": {"rule": {"kind": "lou"}}}}, r"tiny: splits: kind 'lou' is unknown"),
        ({"sources": [{"files": {"a/b": {}}}]}, r"tiny: file name 'a/b' must have no folder in it"),
    ],
)
def test_mistakes_in_a_catalogue_are_named(tiny, changes, sentence):
    tiny(**changes)
    with pytest.raises(InputError, match=sentence):
        load_split("tiny")


def test_the_catalogue_is_whole():
    known = catalogue()
    assert {"ml-100k", "ml-1m", "amazon-beauty-5core", "lightgcn_gowalla", "acm", "dblp", "imdb", "aminer"} <= set(
        known
    )
    for name, entry in known.items():
        assert entry.title, name
        assert entry.licence, name
        assert entry.origin.startswith("https://"), name
        assert (entry.kind == "interactions") == bool(entry.splits), name
        for source in entry.sources:
            assert (entry.kind == "interactions") == (source.reader is not None), name
            for file, spec in source.files.items():
                # a file is known by its hash, or its content is
                assert spec.sha256 or spec.archive or entry.content or not spec.url, f"{name}: {file}"
                assert not spec.url or spec.url.startswith("https://"), f"{name}: {file}"
            if entry.kind == "interactions":
                assert set(source.paths({file: Path(file) for file in source.files}).values()) == set(
                    map(Path, source.files)
                ), name
        if entry.kind == "interactions":
            assert entry.expect.users, name
            parts = [vars(named)[part] for named in entry.splits.values() for part in ("train", "valid", "test")]
            for first in range(0, len(parts), 3):
                if None not in parts[first : first + 3]:
                    assert sum(parts[first : first + 3]) == entry.expect.interactions, name


def test_the_catalogue_is_that_of_the_checkout_and_goes_into_the_wheel():
    assert catalogue_path() == ROOT / "datasets.yaml"
    packaged = ROOT / "recsys" / "data" / "datasets.yaml"
    assert packaged.read_bytes() == (ROOT / "datasets.yaml").read_bytes()
    assert "data/datasets.yaml" in (ROOT / "setup.cfg").read_text()


@pytest.mark.slow
def test_a_wheel_finds_its_catalogue(tmp_path):
    # a copy is built, for setuptools would leave a build folder in the checkout
    for name in ("graphcl", "recsys"):
        shutil.copytree(
            ROOT / name, tmp_path / "tree" / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("setup.cfg", "pyproject.toml", "datasets.yaml", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path / "tree" / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), "."]
    subprocess.run(build, cwd=tmp_path / "tree", check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        assert archive.read("recsys/data/datasets.yaml") == (ROOT / "datasets.yaml").read_bytes()
    program = "from recsys.data.entries import catalogue, catalogue_path; print(len(catalogue()), catalogue_path())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [
        str(len(catalogue())),
        str(tmp_path / "installed" / "recsys" / "data" / "datasets.yaml"),
    ]


def test_recbole_is_found_but_not_imported(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "recbole"]:
        monkeypatch.delitem(sys.modules, name)
    for source in find_entry("ml-100k").sources:
        fetch.present("ml-100k", source)
    assert not any(name.partition(".")[0] == "recbole" for name in sys.modules)


def test_a_package_that_is_not_installed_is_no_source(tiny):
    tiny(sources=[{"files": {"other.txt": {"package": "no_such_package", "member": "x"}}, "reader": {"kind": "table"}}])
    assert fetch.present("tiny", find_entry("tiny").sources[0]) is None


@pytest.mark.parametrize(("task", "validates"), [("general", None), ("sequential", {3})])
def test_released_files_validate_as_the_task_needs(tmp_path, task, validates):
    for part, steps in (("train", range(4)), ("test", [4])):
        rows = [f"u{user},i{(user + step) % 12},{step}" for user in range(12) for step in steps]
        (tmp_path / f"{part}.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    paths = {part: str(tmp_path / f"{part}.csv") for part in ("train", "test")}
    split = load_split({"reader": {"kind": "table", "path": paths, "time": "time"}}, task=task)
    found = set(split.valid.time.tolist())
    assert len(split.valid) == 12 and (found == validates if validates else len(found) > 1)
