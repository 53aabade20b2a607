"""`run`: RecBole's `run_recbole` for every model of ours."""

import inspect
from dataclasses import fields

import pytest
import torch

from recsys.integrations.recbole import model_class, run, running
from recsys.models import MODELS

SMALL = {"embedding_size": 16, "inner_size": 16, "max_length": 6, "n_layers": 2, "n_intents": 4, "n_clusters": 4}


def small(kind):
    known = {field.name for field in fields(MODELS[kind].Config)}
    return {key: value for key, value in SMALL.items() if key in known}


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_runs_and_returns_what_recbole_returns(kind, world):
    result = run(model=kind, config_dict={**world, **small(kind)})
    assert set(result) == {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result"}
    names = {f"{metric}@10" for metric in ("recall", "mrr", "ndcg", "hit", "precision")}
    assert set(result["test_result"]) == set(result["best_valid_result"]) == names
    assert result["valid_score_bigger"] is True
    assert result["best_valid_score"] == result["best_valid_result"]["mrr@10"]
    assert all(0 < value <= 1 for value in result["test_result"].values())
    assert not torch.is_anomaly_enabled()


@pytest.mark.parametrize("kind", ["popularity", "ease"])
def test_what_has_nothing_to_train_is_evaluated_after_its_one_pass(kind, world):
    assert run(model=kind, config_dict={**world, "eval_step": 2, "epochs": 10})["best_valid_score"] > 0


def test_its_arguments_are_those_of_run_recbole(world, tmp_path):
    with running():
        from recbole.quick_start import run_recbole
    assert list(inspect.signature(run).parameters) == list(inspect.signature(run_recbole).parameters)
    (tmp_path / "a.yaml").write_text("model: DCCF\nepochs: 1\ntopk: [3]\nvalid_metric: MRR@3\nlearning_rate: 1e-2\n")
    (tmp_path / "b.yaml").write_text("topk: [4]\nvalid_metric: MRR@4\n")
    received = []
    queue = type("Queue", (), {"put": received.append})()
    files = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    world.pop("epochs")
    result = run(None, None, files, {**world, "metrics": ["NDCG", "MRR"]}, False, queue)
    assert set(result["test_result"]) == {"ndcg@4", "mrr@4"}
    assert received == [result]
    assert not list(tmp_path.glob("saved/*.pth"))


def test_a_class_with_keys_of_its_own_runs_too(world):
    wide = model_class("LightGCN", n_layers=2, embedding_size=8)
    assert wide.__name__ == "RecsysLightGCN"
    result = run(wide, config_dict=world)
    assert result == run("LightGCN", config_dict={**world, "n_layers": 2, "embedding_size": 8})


def test_it_learns_the_world(world):
    """Each user keeps to a quarter of the items, of which a few are left: far above chance, .3."""
    result = run("DCCF", config_dict={**world, **small("dccf"), "epochs": 10, "learning_rate": 0.02})
    assert result["test_result"]["recall@10"] > 0.9
