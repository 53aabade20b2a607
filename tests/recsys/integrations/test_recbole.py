"""Our models inside RecBole's pipeline, on the ml-100k that its package brings."""

import pytest
import torch

from graphcl.errors import InputError

pytest.importorskip("recbole")

from recsys.integrations.recbole import run

QUIET = {"epochs": 1, "gpu_id": "", "show_progress": False, "embedding_size": 8}


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    """RecBole writes logs and checkpoints where it stands, and reads the command line of whoever runs it."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["LightGCN", "DCCF"])
def test_a_model_runs_as_recboles_own_do(model):
    result = run(model=model, dataset="ml-100k", config_dict=QUIET)
    assert set(result) == {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result"}
    assert 0 < result["test_result"]["recall@10"] < 1
    assert not torch.is_anomaly_enabled()


def test_a_key_that_neither_knows_is_refused():
    with pytest.raises(InputError, match="n_layer"):
        run(model="LightGCN", dataset="ml-100k", config_dict={**QUIET, "n_layer": 2})
