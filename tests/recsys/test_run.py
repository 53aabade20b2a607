"""From a configuration to a used recommender, on a world whose answers are known."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from worlds import checkerboard, cycle

import recsys
from graphcl.errors import InputError
from recsys import folder as files
from recsys.data.store import read_split, save_split
from recsys.evaluation.lists import best_lists
from recsys.experiment import Experiment
from recsys.run import Run

GENERAL = {
    "model": {"kind": "lightgcn", "embedding_size": 16},
    "training": {"epochs": 15, "train_batch_size": 64, "learning_rate": 0.05},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    return recsys.train({**GENERAL, "output": str(output)}, split=checkerboard())


def test_an_experiment_can_be_read_from_a_path_in_either_form(run):
    path = run.folder / files.CONFIG
    assert Experiment.load(str(path)) == Experiment.load(path) == run.experiment


def test_it_finds_the_known_answer(run):
    assert run.result["test"]["recall@10"] > 0.9 > 0.5 > run.result["popularity"]["recall@10"]


def test_the_folder_holds_everything(run):
    names = {path.name for path in run.folder.iterdir()}
    assert names >= {
        files.CONFIG,
        files.DATA,
        files.METRICS,
        files.ENVIRONMENT,
        files.RESULT,
        files.PER_USER,
        "best.safetensors",
    }
    environment = json.loads((run.folder / files.ENVIRONMENT).read_text())
    assert environment["data"]["digest"] == run.split.digest and environment["packages"]["torch"]
    users = pd.read_parquet(run.folder / files.PER_USER)
    assert len(users) == 60 and users["recall@10"].mean() == pytest.approx(run.result["test"]["recall@10"])


def test_a_run_of_a_gpu_opens_without_one(run, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    config = (copy / files.CONFIG).read_text()
    (copy / files.CONFIG).write_text(config.replace("device: auto", "device: cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Run.open(copy).evaluate() == pytest.approx(run.result["test"])


def test_an_opened_run_is_the_same(run):
    again = Run.open(run.folder)
    assert again.evaluate() == pytest.approx(run.result["test"]) and again.experiment == run.experiment
    with pytest.raises(InputError, match="'validation' is none of valid, test"):
        again.evaluate("validation")
    pd.testing.assert_frame_equal(again.recommend(users=["u3"]), run.recommend(users=["u3"]))


def test_recommendations_are_of_the_own_group_and_new(run):
    frame = run.recommend(users=["u5", "u2"], histories=[["i1", "i2", "i3"]], k=2)
    assert frame["query"].tolist() == ["u5", "u5", "u2", "u2", "history 1", "history 1"]
    groups = frame["item"].str[1:].astype(int) // 10
    assert groups.tolist() == [1, 1, 2, 2, 0, 0]
    seen = run.split.train.histories.take(torch.tensor([5])).values.tolist()
    assert not {f"i{item}" for item in seen} & set(frame["item"][:2])


def test_a_score_that_is_no_number_is_not_recommended(run, monkeypatch):
    best = run.recommend(users=["u5"], k=1)["item"][0]
    index, item = run.model.index(), run.item_positions[best]
    index.items[item] = torch.nan
    monkeypatch.setattr(run.model, "index", lambda: index)
    assert best not in set(run.recommend(users=["u5"], k=5)["item"])


def test_lists_do_not_depend_on_how_many_are_asked_for_at_once(run):
    index, history = run.model.index(), run.history
    user = torch.arange(run.split.train.num_users)
    scores, items = best_lists(index, user, history, 7, include_seen=False)
    for budget in (1, 4 * run.split.train.num_items * 11):
        found = best_lists(index, user, history, 7, include_seen=False, memory_budget=budget)
        torch.testing.assert_close(found[0], scores)
        assert torch.equal(found[1], items)
    assert not torch.isin(items + user[:, None] * 10_000, history.values + history.row * 10_000).any()


def test_equal_scores_stand_in_the_order_of_items(run):
    index = replace(run.model.index(), items=torch.zeros_like(run.model.index().items))
    scores, items = best_lists(
        index, torch.tensor([0, 1]), run.history.take(torch.tensor([0, 1])), 4, include_seen=True
    )
    assert items.tolist() == [[0, 1, 2, 3]] * 2 and not scores.any()


@pytest.mark.parametrize(
    ("wrong", "words"), [({"users": "u5"}, "users: 'u5'"), ({"histories": ["i1,i2"]}, "histories: 'i1,i2'")]
)
def test_a_text_is_no_list_of_ids(run, wrong, words):
    """Its letters might be ids, too."""
    with pytest.raises(InputError, match=f"{words} is one text; give a list of ids"):
        run.recommend(**wrong)


def test_things_of_another_kind_are_named(run):
    with pytest.raises(
        InputError, match=r"names: 'ndcg@10' is one text; give a list of metrics, such as \['ndcg@10'\]"
    ):
        run.evaluate(names="ndcg@10")
    with pytest.raises(
        InputError, match=r"split: must be a recsys\.Split, got Interactions; recsys\.split_interactions"
    ):
        recsys.train(GENERAL, split=run.split.train)
    with pytest.raises(InputError, match=r"events: must be Interactions, got DataFrame; Interactions\.from_dataframe"):
        recsys.split_interactions(pd.DataFrame({"user": [1], "item": [2]}))


def test_a_mistake_that_the_first_batch_shows_leaves_no_folder(tmp_path):
    config = {**GENERAL, "training": {"loss_schedules": {"contrst": "constant"}}, "output": str(tmp_path)}
    with pytest.raises(InputError, match="contrst: no loss term is called so"):
        recsys.train(config, split=checkerboard())
    assert not list(tmp_path.iterdir())


def test_a_name_with_blanks_makes_a_folder_without(tmp_path):
    assert files.create(tmp_path, "my shop's data (v2)-mf-0").name.startswith("my-shop-s-data-v2-mf-0-")


def test_the_commit_is_that_of_this_code(tmp_path, monkeypatch):
    """Code that lies in the repository of another project has none of its commits."""
    there = tmp_path / "recsys"
    there.mkdir()
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(files, "__file__", str(there / "folder.py"))
    clean = files.commit()
    assert clean is not None and not clean.endswith("-dirty")
    (there / "model.py").touch()
    (there / "result.md").touch()
    subprocess.run(["git", "-C", str(tmp_path), "add", "recsys/result.md"], check=True)
    assert files.commit() == clean
    subprocess.run(["git", "-C", str(tmp_path), "add", "recsys/model.py"], check=True)
    assert files.commit() == f"{clean}-dirty"
    (tmp_path / "lib" / "recsys").mkdir(parents=True)
    monkeypatch.setattr(files, "__file__", str(tmp_path / "lib" / "recsys" / "folder.py"))
    assert files.commit() is None


def test_sequences_go_on_where_they_must(tmp_path):
    config = {
        "model": {"kind": "sasrec", "embedding_size": 32},
        "training": {"epochs": 15, "train_batch_size": 128, "learning_rate": 0.01},
    }
    run = recsys.train({**config, "evaluation": {"mask_history": False}, "output": str(tmp_path)}, split=cycle())
    assert run.recommend(histories=[["4", "5", "6"]], k=1)["item"].tolist() == ["7"]
    assert run.result["test"]["ndcg@10"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"users": ["u999"]}, "user 'u999' is not in the data; known ids look like u0"),
        ({"histories": [["i1", "x"]]}, "item 'x' is not in the data"),
        ({"users": ["u1"], "k": 41}, "k: must be in 1..40, the size of the catalogue, got 41"),
        ({"users": ["u1"], "k": 0}, "got 0"),
        ({}, "nobody to recommend to"),
        ({"histories": [[f"i{n}" for n in range(40)]]}, "has seen every item"),
    ],
)
def test_questions_without_an_answer(run, arguments, words):
    with pytest.raises(InputError, match=words):
        run.recommend(**arguments)


def test_export_scores_as_the_model_does(run, tmp_path):
    run.export(tmp_path / "vectors")
    items, users = (np.load(tmp_path / "vectors" / f"{name}.npy") for name in ("items", "users"))
    first = run.recommend(users=["u5"], k=1)
    scores = users[5] @ items.T
    assert scores[int(first["item"][0][1:])] == pytest.approx(first["score"][0], rel=1e-5)
    assert pd.read_parquet(tmp_path / "vectors" / "items.parquet")["id"].tolist()[:2] == ["i0", "i1"]


def test_items_without_training_are_not_recommended_where_they_are_not_ranked(run):
    only = replace(run.experiment.evaluation, candidates="trained")
    kept = run.split.train.item != 1
    rare = replace(run.split, train=run.split.train.take(kept))
    narrow = Run(run.folder, replace(run.experiment, evaluation=only), rare, run.model)
    size = run.model.num_items
    wide = run.recommend(users=["u5"], k=size, include_seen=True)
    assert set(wide["item"]) - set(narrow.recommend(users=["u5"], k=size, include_seen=True)["item"]) == {"i1"}


def test_a_split_survives_its_file(tmp_path):
    split = checkerboard()
    save_split(tmp_path / "data.safetensors", split)
    again = read_split(tmp_path / "data.safetensors")
    assert again.digest == split.digest and again.protocol == split.protocol
    assert again.train.user_ids == split.train.user_ids and again.train.user_ids is again.test.user_ids
    assert torch.equal(again.test.time, split.test.time)


def test_damage_is_named(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    (copy / "best.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"best.safetensors: not a readable safetensors file"):
        Run.open(copy)
    shutil.copy(run.folder / "data.safetensors", copy / "best.safetensors")
    with pytest.raises(InputError, match="it belongs to another"):
        Run.open(copy)
    shutil.copy(run.folder / "best.safetensors", copy / "best.safetensors")
    config = (copy / files.CONFIG).read_text()
    (copy / files.CONFIG).write_text(config.replace("embedding_size: 16", "embedding_size: 8"))
    with pytest.raises(InputError, match="belongs to another configuration"):
        Run.open(copy)
    (copy / files.CONFIG).write_text(config.replace("kind: lightgcn", "kind: lightgnc"))
    with pytest.raises(InputError, match=r"model.kind: 'lightgnc' is unknown; did you mean 'lightgcn'\?"):
        Run.open(copy)
    with pytest.raises(InputError, match="not a run folder"):
        Run.open(tmp_path)


def test_a_damaged_result_is_named_and_a_damaged_neighbour_passed_over(tmp_path, caplog):
    config = {**GENERAL, "training": {**GENERAL["training"], "epochs": 1}, "output": str(tmp_path)}
    run = recsys.train(config, split=checkerboard())
    (tmp_path / "neighbour").mkdir()
    (tmp_path / "neighbour" / files.CONFIG).write_bytes(b"a: [1\n\x00")
    assert recsys.train(config, split=checkerboard(), resume=True).folder == run.folder
    assert "neighbour/config.yaml: cannot be read" in caplog.text
    (run.folder / files.RESULT).write_text("{")
    with pytest.raises(InputError, match=r"result.json: is damaged .* resume the training"):
        recsys.train(config, split=checkerboard(), resume=True)
    (run.folder / files.RESULT).unlink()
    again = recsys.train(config, split=checkerboard(), resume=True)
    assert again.folder == run.folder and again.result == run.result


def test_lists_longer_than_the_catalogue_are_refused_before_anything_is_written(tmp_path):
    config = {**GENERAL, "evaluation": {"report": ["recall@41"]}, "output": str(tmp_path / "runs")}
    with pytest.raises(InputError, match=r"'recall@41' needs lists of 41 items, the catalogue has 40; shorten them"):
        recsys.train(config, split=checkerboard())
    assert not (tmp_path / "runs").exists()


def test_a_metric_without_a_validation_part_is_refused_before_anything_is_written(tmp_path):
    split = checkerboard()
    split = replace(split, valid=split.valid.take(torch.arange(0)))
    with pytest.raises(InputError, match=r"no validation part to measure ndcg@10 on; take a split with"):
        recsys.train({**GENERAL, "output": str(tmp_path / "runs")}, split=split)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("writes", [0, 2, 5, 8, 9, 10])
def test_a_disk_that_fills_up_at_any_moment_costs_nothing(tmp_path, monkeypatch, run, writes):
    """The disk is full after so many writes; with room again, --resume ends where an untouched training does."""
    config = {**GENERAL, "training": {**GENERAL["training"], "epochs": 2}, "output": str(tmp_path)}
    fsync, done = os.fsync, []

    def fills_up(descriptor):
        done.append(descriptor)
        if len(done) > writes:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as full:
        full.setattr("graphcl.training.checkpoint.os.fsync", fills_up)
        with pytest.raises(InputError, match=r": cannot be written \(No space left on device\)"):
            recsys.train(config, split=checkerboard())
        with pytest.raises(InputError, match=r"items.parquet: cannot be written"):
            run.export(tmp_path / "vectors")
    assert not list((tmp_path / "vectors").iterdir())
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]
    ended = recsys.train(config, split=checkerboard(), resume=True)
    whole = recsys.train({**config, "output": str(tmp_path / "whole")}, split=checkerboard())
    assert ended.result == whole.result
    for name in ("best.safetensors", "last.safetensors", files.PER_USER):
        assert (ended.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert (ended.folder / files.REPORT).exists()


def test_models_without_vectors_export_nothing(tmp_path):
    run = recsys.train({"model": {"kind": "ease"}, "output": str(tmp_path)}, split=checkerboard())
    with pytest.raises(InputError, match="ease: has no vectors to export"):
        run.export(tmp_path / "vectors")
    assert not (tmp_path / "vectors").exists()


def test_all_mistakes_of_a_configuration_at_once():
    with pytest.raises(InputError) as caught:
        Experiment.load(
            {
                "datset": "ml-100k",
                "model": {"kind": "lightgcn", "n_layer": 2},
                "training": {"epochs": 0},
                "evaluation": {"report": ["recal@10"]},
                "sed": 1,
                "learning_rat": 0.1,
            }
        )
    message = str(caught.value)
    for part in ("datset: unknown key; did you mean 'dataset'?", "model.n_layer: unknown key; did you mean 'n_layers'?",
                 "training.epochs: must be >= 1", "recal", "sed: unknown key; did you mean 'seed'?",
                 "learning_rat: unknown key; did you mean 'training.learning_rate'?"):  # fmt: skip
        assert part in message, part


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"monitor": "gini@10"}, "a larger gini@10 is not better; choose one of recall"),
        ({"report": ["sampled_hit@5"]}, "the whole catalogue is ranked; ask for hit@5"),
    ],
)
def test_metrics_that_cannot_decide_are_refused_before_training(wanted, words):
    with pytest.raises(InputError, match=words):
        Experiment.load({"model": {"kind": "mf"}, "evaluation": wanted})


def test_a_path_may_describe_own_files():
    tree = {"dataset": {"reader": {"kind": "table", "path": Path("a.csv")}}, "model": {"kind": "mf"}}
    assert Experiment.load(tree).settings.dataset["reader"]["path"] == "a.csv"


def test_an_unwritable_output_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"output: .* name a"):
        recsys.train({**GENERAL, "output": str(tmp_path / "file")}, split=checkerboard())


SCRIPT = """
import sys, json, torch
torch.set_num_threads(1)
sys.path[:0] = {path!r}
import recsys
from worlds import checkerboard
print("ready", flush=True)
config, world = json.loads(sys.argv[1]), checkerboard(num_users=300)
recsys.train(config, resume=True, split=world, log=lambda record: print(record["epoch"], flush=True))
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_killed_at_any_moment_it_resumes_bit_equal(tmp_path, attempt):
    """kill -9 a training again and again at random moments; the weights end as those of an untouched one."""
    config = {"model": {"kind": "lightgcn"}, "training": {"epochs": 25, "train_batch_size": 64, "patience": 100}}

    def start(output):
        script = SCRIPT.format(path=[path for path in sys.path if path])
        command = [sys.executable, "-c", script, json.dumps({**config, "output": str(tmp_path / output)})]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    untouched = start("whole")
    untouched.communicate()
    assert untouched.returncode == 0
    moments = np.random.default_rng(attempt)
    kills = 0
    while True:
        process = start("killed")
        lines = moments.integers(1, 6)  # ready, and so many epochs: somewhere in the next one it is killed
        said = [process.stdout.readline().strip() for _ in range(lines)]
        if "done" in said:
            break
        time.sleep(moments.uniform(0, 0.15))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
        assert kills < 60
    process.communicate()
    assert kills >= 5
    (whole,), (killed,) = (list((tmp_path / name).iterdir()) for name in ("whole", "killed"))
    for name in ("best.safetensors", "last.safetensors"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    records = [[json.loads(line) for line in (run / files.METRICS).open()] for run in (whole, killed)]
    for record in records[0] + records[1]:
        del record["seconds"]
    assert records[0] == records[1]


def test_a_run_is_not_taken_for_one_on_renamed_data(tmp_path):
    config = {**GENERAL, "training": {**GENERAL["training"], "epochs": 1}, "output": str(tmp_path)}
    split = checkerboard()
    recsys.train(config, split=split)
    names = tuple(f"other {number}" for number in range(split.train.num_items))
    parts = {name: replace(getattr(split, name), item_ids=names) for name in ("train", "valid", "test")}
    with pytest.raises(InputError, match="was trained on data with other ids of users or items"):
        recsys.train(config, split=replace(split, **parts), resume=True)


def test_a_key_that_came_later_does_not_part_a_training_from_its_folder(tmp_path):
    config = {**GENERAL, "training": {**GENERAL["training"], "epochs": 1}, "output": str(tmp_path)}
    run = recsys.train(config, split=checkerboard())
    tree = yaml.safe_load((run.folder / files.CONFIG).read_text())
    del tree["training"]["warmup_steps"]
    files.write_config(run.folder, tree)
    assert recsys.train(config, split=checkerboard(), resume=True).folder == run.folder


def test_a_run_that_has_not_ended_is_said(tmp_path, caplog):
    config = {**GENERAL, "training": {**GENERAL["training"], "epochs": 1}, "output": str(tmp_path)}
    run = recsys.train(config, split=checkerboard())
    recsys.Run.open(run.folder)
    assert not caplog.text
    (run.folder / files.RESULT).unlink()
    assert recsys.Run.open(run.folder).evaluate() == run.evaluate()
    assert "the training has not ended" in caplog.text


def test_resuming_nothing_is_said(tmp_path, caplog):
    config = {**GENERAL, "training": {**GENERAL["training"], "epochs": 1}, "output": str(tmp_path)}
    recsys.train(config, split=checkerboard(), resume=True)
    assert "no run has this very configuration; a new one begins" in caplog.text


def test_data_too_small_for_the_model_leaves_no_folder(tmp_path):
    config = {"model": {"kind": "icsrec", "n_intents": 5000}, "output": str(tmp_path / "runs")}
    with pytest.raises(InputError, match="n_intents: 5000 clusters need as many subsequences"):
        recsys.train(config, split=checkerboard())
    assert not (tmp_path / "runs").exists()
