"""From a file or a tree of keys to an experiment: what a person wrote, and what it means."""

import logging
from pathlib import Path

import numpy as np
import pytest

from recsys.blocks import kind_of_model
from recsys.config import ConfigError
from recsys.experiment import Experiment
from recsys.nodes import NodeExperiment


def load(model, overrides=(), **more):
    return Experiment.load({"dataset": "ml-100k", "model": model, **more}, overrides)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            {"kind": "sasrec", "hidden_size": 128},
            "the width of a transformer is embedding_size",
        ),
        ({"kind": "gru4rec", "n_heads": 4}, "model.n_heads: has no effect; only encoder: transformer has it"),
        ({"kind": "sasrec", "n_negatives": 5}, "model.n_negatives: has no effect; loss: softmax compares"),
        ({"kind": "lightgcn", "hard_negatives": True}, "model.hard_negatives: has no effect; of one negative"),
        ({"kind": "directau", "n_negatives": 5}, "model.n_negatives: has no effect; it has no negatives"),
        ({"kind": "contrastive", "queue_size": 5}, "model.queue_size: has no effect; only the objectives momentum"),
        (
            {"kind": "contrastive", "tau_plus": 0.2},
            "model.tau_plus: has no effect; only the objectives debiased, hard_negatives",
        ),
    ],
)
def test_a_key_that_does_nothing_is_refused(model, words):
    with pytest.raises(ConfigError, match=words):
        load(model)
    with pytest.raises(ConfigError, match=words):
        key, value = list(model.items())[1]
        load(model["kind"], [f"{key}={str(value).lower()}"])


def test_keys_that_do_something_beside_others_are_taken():
    load({"kind": "duorec", "encoder": "gru", "hidden_size": 128, "loss": "bpr", "n_negatives": 5})
    load({"kind": "lightgcn", "hard_negatives": True, "n_negatives": 4})
    load({"kind": "contrastive", "objective": "momentum", "queue_size": 64})


def test_what_a_run_folder_spells_out_is_no_mistake():
    for kind in ("sasrec", "gru4rec", "directau", "contrastive"):
        experiment = load(kind)
        assert Experiment.load(experiment.tree()) == experiment


@pytest.mark.parametrize("later", ["tau_plus", "temperature"])
def test_a_key_that_came_later_than_the_run_folder_has_its_default(later):
    experiment = load("contrastive")
    tree = experiment.tree()
    del tree["model"][later]
    assert Experiment.load(tree) == experiment


def test_an_alias_is_read_and_said(caplog):
    with caplog.at_level(logging.INFO, "recsys.config"):
        experiment = load({"kind": "cl4srec", "lmd": 0.3})
    assert experiment.config.cl_weight == 0.3
    assert "model.lmd: read as 'cl_weight'" in caplog.text
    assert load("cl4srec", ["lmd=0.2"]).config.cl_weight == 0.2
    assert load({"kind": "cl4srec", "cl_weight": 0.3}, ["lmd=0.2"]).config.cl_weight == 0.2


def test_overrides_choose_the_model_first(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text("dataset: ml-100k\nmodel: simgcl\n")
    assert Experiment.load(path, ["n_intents=64", "model=dccf"]).config.n_intents == 64
    assert kind_of_model(path, ["epochs=3"]) == "simgcl"
    assert kind_of_model(path, ["model=meow"]) == kind_of_model(path, ["model.kind=meow"]) == "meow"


def test_numbers_of_numpy_and_paths_are_plain():
    experiment = load(
        {"kind": "lightgcn", "embedding_size": np.int64(32)},
        output=Path("there"),
        training={"learning_rate": np.float32(0.5)},
    )
    assert experiment.config.embedding_size == 32
    assert (experiment.settings.output, experiment.training.learning_rate) == ("there", 0.5)


def test_a_key_in_the_wrong_place_is_told_where_it_belongs():
    with pytest.raises(ConfigError, match=r"epochs: unknown key; did you mean 'training.epochs'\?"):
        load("lightgcn", epochs=5)
    with pytest.raises(ConfigError, match=r"epochs: unknown key; did you mean 'training.epochs'\?"):
        NodeExperiment.load({"graph": {"path": "g.npz"}, "model": "dgi", "epochs": 5})
