"""RecBole's own models: in our evaluator, and in our run folders."""

import shutil
from pathlib import Path

import pytest
import torch

from graphcl.errors import InputError
from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import rank
from recsys.integrations.recbole import import_run, imports, index_of, running, split
from recsys.integrations.recbole import run as bridge_run
from recsys.integrations.recbole.imports import sasrec
from recsys.run import Run

METRICS = {"topk": [5, 10, 20], "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP"]}
SMALL = {"hidden_size": 16, "inner_size": 16, "n_layers": 2, "MAX_ITEM_LIST_LENGTH": 10, "train_neg_sample_args": None}


def fitted(made, *, saved):
    """RecBole's trainer after `fit`, and its metrics of the test part."""
    from recbole.utils import get_trainer

    with running():
        trainer = get_trainer(made.config["MODEL_TYPE"], made.config["model"])(made.config, made.model)
        trainer.fit(made.train, made.valid, saved=saved, verbose=False)
        return trainer, trainer.evaluate(made.test, load_best_model=False)


def ours(made, **options):
    """What our evaluator finds."""
    data, general = split(made.train, made.valid, made.test), "General" in type(made.model).__mro__[1].__name__
    index = index_of(made.model, made.train.dataset)
    ranking = rank(index, data.train + data.valid, data.test, 20, mask_history=general, repeats="candidates", **options)
    return measure(ranking, [f"{metric.lower()}@{k}" for metric in METRICS["metrics"] for k in METRICS["topk"]])


@pytest.mark.parametrize(
    ("name", "keys"),
    [("LightGCN", {"n_layers": 1}), ("BPR", {}), ("SASRec", SMALL), ("NeuMF", {}), ("GRU4Rec", {"hidden_size": 8})],
)
def test_the_same_scores_give_the_same_metrics(name, keys, world, prepare):
    """NeuMF scores pair by pair."""
    keys = keys | ({"train_neg_sample_args": None} if name == "GRU4Rec" else {})
    made = prepare(name, {**world, **METRICS, **keys}, ours=False)
    _, theirs = fitted(made, saved=False)
    found = ours(made)
    assert set(found) == set(theirs)
    assert found == pytest.approx(theirs, abs=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "keys"), [("LightGCN", {"n_layers": 1}), ("BPR", {}), ("SASRec", SMALL)])
def test_the_same_scores_give_the_same_metrics_on_movielens(name, keys, quiet, prepare):
    made = prepare(name, {**quiet, **METRICS, **keys, "dataset": "ml-100k"}, ours=False)
    _, theirs = fitted(made, saved=False)
    assert ours(made) == pytest.approx(theirs, abs=1e-6)


def test_ties_and_nan_are_the_difference(world, prepare):
    """A model that gives every item the same score, or none a score, earns something in RecBole and nothing here."""
    made = prepare("BPR", {**world, **METRICS}, ours=False)
    with running():
        from recbole.utils import get_trainer

        trainer = get_trainer(made.config["MODEL_TYPE"], "BPR")(made.config, made.model)
        for value in (1.0, torch.nan):
            with torch.no_grad():
                made.model.item_embedding.weight.fill_(value)
            theirs, found = trainer.evaluate(made.test, load_best_model=False), ours(made)
            assert theirs["hit@20"] > 0.1
            assert found["hit@5"] == found["hit@20"] == 0


def test_an_imported_sasrec_ranks_the_same(world, prepare, tmp_path):
    """Scores to 1e-5, the same order of all items, the same metrics; raw ids in, raw ids out."""
    made = prepare("SASRec", {**world, **SMALL, "epochs": 3, "learning_rate": 0.01}, ours=False)
    trainer, theirs = fitted(made, saved=True)
    run = import_run(trainer.saved_model_file, tmp_path / "run")
    data = split(made.train, made.valid, made.test)
    assert run.split.digest == data.digest
    with running():
        trainer.evaluate(made.test, load_best_model=True)
    history = (data.train + data.valid).histories
    users = torch.arange(data.train.num_users)
    expected = index_of(made.model, made.train.dataset).score(users, history)
    scores = run.model.index().score(users, history.last(10))
    assert torch.allclose(scores, expected, atol=1e-5)
    assert torch.equal(scores.argsort(1), expected.argsort(1))
    again = Run.open(tmp_path / "run")
    assert again.result["test"] == pytest.approx({name: theirs[name] for name in again.result["test"]}, abs=1e-6)
    with running():
        from recbole.utils.case_study import full_sort_topk

        user = made.dataset.token2id("user_id", ["u7"])
        top = made.dataset.id2token("item_id", full_sort_topk(user, made.model, made.test, 5)[1][0])
    at_test = [
        data.train.item_ids[item] for item in history.values[history.offsets[user[0] - 1] : history.offsets[user[0]]]
    ]
    assert again.recommend(histories=[at_test], k=5, include_seen=True)["item"].tolist() == list(top)


def test_a_model_of_ours_comes_back_too(world, prepare, tmp_path):
    made = prepare("LightGCN", {**world, "embedding_size": 8}, n_layers=2)
    trainer, theirs = fitted(made, saved=True)
    run = import_run(trainer.saved_model_file, tmp_path / "run")
    assert (run.experiment.kind, run.experiment.config.n_layers, run.experiment.config.embedding_size) == (
        "lightgcn",
        2,
        8,
    )
    assert run.result["test"] == pytest.approx({name: theirs[name] for name in run.result["test"]}, abs=1e-6)
    assert Run.open(tmp_path / "run").recommend(users=["u3"], k=3)["item"].str.startswith("i").all()


def test_what_cannot_be_imported(world, prepare, tmp_path):
    with pytest.raises(InputError, match="no such file; RecBole saves checkpoints below its checkpoint_dir"):
        import_run(tmp_path / "nothing.pth", tmp_path / "run")
    torch.save({"weights": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="is no checkpoint of RecBole's"):
        import_run(tmp_path / "other.pth", tmp_path / "run")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(InputError, match=r"^[^ ]*empty\.pth: is not read, for (it is cut short|Ran out of input)"):
        import_run(tmp_path / "empty.pth", tmp_path / "run")
    trainer, _ = fitted(prepare("BPR", world, ours=False), saved=True)
    with pytest.raises(InputError, match="is of RecBole's BPR; of its own models SASRec can be imported"):
        import_run(trainer.saved_model_file, tmp_path / "run")
    made = prepare("SASRec", {**world, **SMALL, "hidden_act": "swish"}, ours=False)
    with pytest.raises(InputError, match="hidden_act: 'swish' is not offered, our SASRec has 'gelu'"):
        sasrec(made.model, split(made.train, made.valid, made.test).train)


def test_data_that_is_gone_and_lists_that_are_too_long_leave_no_folder(world, prepare, tmp_path, monkeypatch):
    trainer, _ = fitted(prepare("LightGCN", {**world, "embedding_size": 8}, n_layers=2), saved=True)
    with monkeypatch.context() as patch:
        patch.setattr(imports, "REPORT", ("recall@1000",))
        with pytest.raises(InputError, match="needs lists of 1000 items"):
            import_run(trainer.saved_model_file, tmp_path / "run")
    shutil.rmtree(tmp_path / "atomic")
    with pytest.raises(InputError, match="or its data is not where it was"):
        import_run(trainer.saved_model_file, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_replaced_whole(world, prepare, monkeypatch):
    """A save that fails leaves the one before; a file that is cut short is told so."""
    made = prepare("LightGCN", {**world, "embedding_size": 8}, n_layers=2)
    trainer, _ = fitted(made, saved=True)
    before = Path(trainer.saved_model_file).read_bytes()

    def half(content, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(InputError, match="No space left on device"):
            trainer._save_checkpoint(5, verbose=False)
    assert Path(trainer.saved_model_file).read_bytes() == before
    assert len(list(Path(trainer.saved_model_file).parent.iterdir())) == 1
    for cut in (0, len(before) // 2):
        Path(trainer.saved_model_file).write_bytes(before[:cut])
        with pytest.raises(InputError, match="is not read, for"):
            trainer.resume_checkpoint(trainer.saved_model_file)


def test_a_call_that_names_no_model():
    with pytest.raises(InputError, match="model: is missing; name it in the call"):
        bridge_run(dataset="ml-100k")
