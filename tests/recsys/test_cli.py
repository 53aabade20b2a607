"""The command line: right commands give tables, wrong ones one clear sentence and status 1."""

import pytest
import yaml
from rich.console import Console

import recsys
from recsys import cli, folder


def only_run(config):
    return next(iter((config.parent / "runs").iterdir()))


def test_train_evaluate_recommend_export(command, config):
    status, out, err = command("train", config)
    assert (
        status == 0 and "popularity" in out and "recall@20" in out and str(only_run(config)) in out and "epoch 2" in err
    )
    run = only_run(config)
    report = (run / folder.REPORT).read_text()
    assert report.count("<svg") == 3 and all(word in report for word in ("loss, by term", "gradient norm", "recall@20"))
    assert ">epoch</text>" in report, "words of a drawing must be text, not outlines"
    status, out, _ = command("evaluate", run, "--metrics", "hit@5,mrr@5")
    assert status == 0 and "hit@5" in out and "mrr@5" in out
    status, out, _ = command("recommend", run, "--user", "u1", "--history", "i1,i2", "-k", "3")
    assert status == 0 and out.count("u1") == 3 and out.count("history 1") == 3
    status, out, _ = command("export", run)
    assert status == 0 and (run / "export" / "items.parquet").exists()


def test_ids_are_shown_as_they_are(command, tmp_path):
    """Colons are no picture, brackets no markup; an id with a comma stands in quotes."""
    names = [f"i[{n}] :100:, red" for n in range(12)]
    rows = [f'u:{user}:,"{names[(user + step) % 12]}",{step}' for user in range(12) for step in range(5)]
    (tmp_path / "events.csv").write_text("\n".join(["who,what,when", *rows]) + "\n")
    reader = {"kind": "table", "path": str(tmp_path / "events.csv"), "user": "who", "item": "what", "time": "when"}
    tree = {
        "dataset": {"name": "shop", "reader": reader, "split": {"kind": "leave_one_out"}},
        "model": {"kind": "mf", "embedding_size": 4},
        "training": {"epochs": 1},
        "evaluation": {"monitor": "recall@5", "report": ["recall@5"]},
        "output": str(tmp_path / "runs"),
    }
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(tree))
    assert command("train", tmp_path / "shop.yaml")[0] == 0
    (run,) = (tmp_path / "runs").iterdir()
    status, out, err = command("recommend", run, "--user", "u:3:", "--history", f'"{names[1]}","{names[2]}"', "-k", 3)
    assert status == 0 and out.count("u:3:") == 3 and out.count(":100:, red") == 6, err
    assert "known ids look like u:0:" in command("recommend", run, "--user", "nobody")[2]


def test_the_version_is_told(command):
    status, out, _ = command("--version")
    assert status == 0 and out.strip() == folder.installed("graphcl-recsys")


def test_a_model_below_the_floor_is_said(command, config, monkeypatch):
    told = "lightgcn is no better than popularity in recall@10, recall@20, ndcg@10, ndcg@20."
    assert "no better" not in " ".join(command("train", config)[1].split())
    monkeypatch.setattr(
        "recsys.training.popularity_floor", lambda experiment, split: dict.fromkeys(experiment.evaluation.report, 1.0)
    )
    assert told in " ".join(command("train", config, "seed=1", f"output={config.parent}/below")[1].split())
    (run,) = (config.parent / "below").iterdir()
    assert told in (run / folder.REPORT).read_text()
    _, out, _ = command("train", config, "model=ease")
    assert "no better" not in out, "the advice is for models that are trained step by step"


def test_resume_takes_the_finished_run(command, config):
    command("train", config)
    status, out, _ = command("train", config, "--resume")
    assert status == 0 and len(list((config.parent / "runs").iterdir())) == 1 and "recall@20" in out


def test_what_there_is(command):
    assert "simgcl" in command("models")[1]
    status, out, _ = command("config", "sasrec")
    assert status == 0 and "max_length" in out and "learning_rate" in out and "mask_history" in out


def test_names_of_keys_are_whole_on_a_narrow_terminal(command, monkeypatch):
    monkeypatch.setattr("recsys.cli.console", Console(width=80, markup=False))
    status, out, _ = command("config", "icsrec")
    assert status == 0 and "learning_rate_schedule" in out and "…" not in out


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.embeding_size=8"], ["model.embeding_size: unknown key; did you mean 'embedding_size'?"]),
        (["model.n_layers=-1", "learning_rate=0", "seed=-3"], ["n_layers: must be", "rate: must be > 0", "seed: must"]),
        (["model.kind=lightgnc"], ["model.kind: 'lightgnc' is unknown; did you mean 'lightgcn'?"]),
        (["dataset=ml-10k"], ["ml-100k"]),
        (["report=[recall@50]"], ["50", "40"]),
        (["report=recall@5"], ["evaluation.report: must be a list; write [recall@5]"]),
        (["dataset.reader.encoding=rot13"], ["encoding: 'rot13' is unknown"]),
        (["monitor=ngcd@10"], ["ndcg@10"]),
        (["device=tpu"], ["device"]),
        (["dataset.reader.user=whom"], ["whom"]),
        (["--epochs=3"], ["'--epochs': is no option of this command (see --help); a key is set as epochs=3"]),
    ],
)  # fmt: skip
def test_wrong_configurations(command, config, overrides, words):
    status, _, err = command("train", config, *overrides)
    assert status == 1 and "Traceback" not in err and all(word in err for word in words), err
    assert not (config.parent / "runs").exists() or not list((config.parent / "runs").glob("*/best.safetensors"))


def test_wrong_files_and_runs(command, config, tmp_path):
    for arguments, word in (
        (["train", tmp_path / "shopp.yaml"], "did you mean 'shop.yaml'?"),
        (["evaluate", tmp_path], "not a run folder"),
        (["recommend", tmp_path / "nowhere", "--user", "u1"], "not a run folder"),
        (["config", "sasrek"], "did you mean 'sasrec'?"),
    ):
        status, _, err = command(*arguments)
        assert status == 1 and word in err and "Traceback" not in err


def test_a_full_disk_ends_with_one_sentence(command, config, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("graphcl.training.checkpoint.os.fsync", full)
    status, _, err = command("train", config)
    assert status == 1 and "No space left on device" in err and "Traceback" not in err


def test_an_unbounded_loss_ends_with_its_name(command, config):
    status, _, err = command("train", config, "learning_rate=1e30", "model.reg_weight=1", "epochs=5")
    assert status == 1 and ("is not finite" in err or "loss term" in err) and "Traceback" not in err


def test_interruption_says_how_to_go_on(command, config, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train_recommender", interrupted)
    status, _, err = command("train", config)
    assert status == 130 and "--resume" in err


def test_the_python_door_is_the_same(config):
    run = recsys.train(config, ["epochs=1"])
    assert run.result["last_epoch"] == 0 and run.split.train.user_ids[0] == "u0"


def test_a_run_is_not_resumed_on_other_data(command, config, events, tmp_path):
    copy = tmp_path / "events.csv"
    copy.write_text(events.read_text())
    where = f"dataset.reader.path={copy}"
    command("train", config, where)
    copy.write_text("\n".join(events.read_text().splitlines()[:-1]) + "\n")
    status, out, err = command("train", config, where, "--resume")
    assert status == 1 and "was trained on the split" in err and "recall@20" not in out
    assert len(list((config.parent / "runs").iterdir())) == 1


def test_brackets_in_names_and_ids_are_shown_as_they_are(command, config, events, tmp_path):
    odd = tmp_path / "odd.csv"
    odd.write_text(events.read_text().replace("i1,", "i1 [blue],"))
    overrides = [f"dataset.reader.path={odd}", "dataset.name='shop [/v2]'", f"output={tmp_path}/runs [/x]"]
    status, out, _ = command("train", config, *overrides)
    assert status == 0 and "shop [/v2], test" in out and "runs [/x]" in out
    (run,) = (tmp_path / "runs [/x]").iterdir()
    status, out, _ = command("recommend", run, "--history", "i0", "-k", "39", "--include-seen")
    assert status == 0 and "i1 [blue]" in out


def test_the_home_folder_may_be_written_short(command, config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for more in ((), ("--resume",)):
        assert command("train", config, "output=~/mine", *more)[0] == 0
    assert len(list((tmp_path / "home" / "mine").iterdir())) == 1 and not (tmp_path / "~").exists()
