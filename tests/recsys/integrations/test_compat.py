"""What `running` changes for RecBole is changed back, and RecBole's traps do not spring."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.sparse import dok_matrix

from graphcl.errors import InputError
from recsys.integrations.recbole import run, running

PROGRAM = """
import json, logging, os, sys, warnings
import numpy as np, torch, yaml
from scipy.sparse import dok_matrix
from recsys.integrations.recbole import running

def state():
    return {
        "numpy": sorted(name for name in ("float_", "float", "int", "object", "unicode_", "long") if hasattr(np, name)),
        "dok": hasattr(dok_matrix, "_update"),
        "load": torch.load.__module__,
        "argv": sys.argv[1:],
        "number": yaml.load("1e-3", yaml.FullLoader),
        "devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "handlers": len(logging.getLogger().handlers),
        "stand-ins": [name for name in ("ray", "ray.tune", "recbole.quick_start") if name in sys.modules],
        "anomaly": torch.is_anomaly_enabled(),
    }

before = state()
written = json.loads(sys.argv[1])
try:
    with running():
        from recbole.quick_start import run_recbole
        run_recbole("SASRec", config_dict=written)
        inside = state()
        with running():
            pass
        raise KeyError("a mistake of whoever is inside")
except KeyError:
    pass
print(json.dumps([before, inside, state()]))
"""


@pytest.mark.timeout(600)
def test_everything_is_changed_back(world):
    """In a process that has not seen RecBole yet, with a command line that RecBole would read."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps({**world, "train_neg_sample_args": None})]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [*command, "--epochs=7", "--maxfail=2"],
        env={**os.environ, "PYTHONPATH": root, "CUDA_VISIBLE_DEVICES": "3"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    before, inside, after = json.loads(done.stdout.splitlines()[-1])
    assert after == before
    assert before["argv"][1:] == ["--epochs=7", "--maxfail=2"] and before["number"] == "1e-3"
    assert not before["anomaly"] and not inside["anomaly"]
    assert inside["stand-ins"] == ["recbole.quick_start"] and before["stand-ins"] == []
    assert inside["argv"] == [] and inside["number"] == 1e-3 and "float" in inside["numpy"]
    assert "epoch 1 training" not in done.stderr  # --epochs=7 was not heard


def test_anomaly_mode_is_left_to_whoever_wants_it():
    with running():
        torch.autograd.set_detect_anomaly(True)
        assert torch.is_anomaly_enabled()
    assert not torch.is_anomaly_enabled()


def test_the_command_line_of_the_tests_is_not_read(world, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pytest", "--n_layers=1", "--seed=1"])
    assert run("LightGCN", config_dict=world) == run("LightGCN", config_dict={**world, "seed": 2020, "n_layers": 3})


def test_names_that_are_there_stay():
    before = {name: getattr(np, name, None) for name in ("bool", "long", "float64")}
    with running():
        assert np.bool is before["bool"] and hasattr(dok_matrix, "_update") and np.float_ is np.float64
    assert {name: getattr(np, name, None) for name in before} == before
    assert not hasattr(np, "float_") or np.__version__ < "2"
    assert yaml.load("1e-3", yaml.FullLoader) == "1e-3"


class Malicious:
    """Calls whatever it was told to, once it is unpickled."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("what", ["a function", "RecBole's Config", "RecBole's model"])
def test_a_checkpoint_that_calls_something_is_refused(what, tmp_path):
    """Calling `Config` evaluates the strings that it is given."""
    from recbole.config import Config
    from recbole.model.general_recommender import BPR

    sign, file = tmp_path / "sign", tmp_path / "bad.pth"
    order = f"__import__('pathlib').Path({str(sign)!r}).touch()"
    bad = {
        "a function": Malicious(os.mkdir, str(sign)),
        "RecBole's Config": Malicious(Config, "BPR", "ml-100k", None, {"x": order}),
        "RecBole's model": Malicious(BPR, 1, 2),
    }[what]
    torch.save({"config": bad, "state_dict": {}}, file)
    with running(), pytest.raises((InputError, TypeError, pickle.UnpicklingError)):
        torch.load(file)
    assert not sign.exists()


def test_a_string_in_our_checkpoint_is_not_evaluated(tmp_path, world, prepare):
    from recbole.utils import get_trainer

    made = prepare("MF", world)
    with running():
        trainer = get_trainer(made.config["MODEL_TYPE"], made.config["model"])(made.config, made.model)
        trainer.fit(made.train, saved=True)
        content = torch.load(trainer.saved_model_file, weights_only=True)
        sign = tmp_path / "sign"
        content["recsys"]["written"]["seed"] = f"__import__('pathlib').Path({str(sign)!r}).touch()"
        torch.save(content, trainer.saved_model_file)
        read = torch.load(trainer.saved_model_file)
    assert read["config"]["seed"].startswith("__import__") and not sign.exists()
