"""What a person reads who made a mistake: one sentence that says what, where and how to mend it."""

import re
from importlib import metadata

import pytest

from graphcl.errors import InputError
from recsys.integrations.recbole import RecBoleError, interactions, model_class, requirements, run, running
from recsys.integrations.recbole.keys import refuse_several_processes


@pytest.mark.parametrize(
    ("model", "keys", "message"),
    [
        ("LightGCN", {"n_layer": 2}, "n_layer: unknown to RecBole and to LightGCN; did you mean 'n_layers'?"),
        ("DCCF", {"lerning_rate": 0.1}, "lerning_rate: unknown to RecBole and to DCCF; did you mean 'learning_rate'?"),
        ("SASRec", {"mlp_hidden_size": 8}, "mlp_hidden_size: unknown to RecBole and to SASRec; did you mean"),
        ("MF", {"zzz": 1}, "zzz: unknown to RecBole and to MF; 'recsys config' lists a model's keys"),
        ("LightGCN", {"n_layers": -1}, "LightGCN.n_layers: must be >= 0 (got -1)"),
        ("LightGCN", {"optimizer": "adam", "learner": "sgd"}, "optimizer: says the same as RecBole's 'learner'"),
        ("SASRec", {"hidden_dropout": 0.1, "hidden_dropout_prob": 0.2}, "0.2 contradicts hidden_dropout: 0.1"),
        ("SASRec", {"hidden_act": "relu"}, "hidden_act: 'relu' is not offered, SASRec has 'gelu'"),
        ("SASRec", {"loss_type": "CEE"}, "loss_type: 'CEE' is unknown; did you mean 'CE'?"),
        ("SASRec", {"max_length": 60}, "RecBole keeps 50 of a history; set MAX_ITEM_LIST_LENGTH: 60"),
        ("SGL", {"train_neg_sample_args": {"dynamic": True, "sample_num": 2}}, "dynamic works with graph models, for"),
        ("MF", {"shuffle": False}, "shuffle: our samplers have no order of their own"),
        ("LightGCM", {}, "model: there is no 'LightGCM'; did you mean 'LightGCN'?"),
        ("NeuMF", {}, "model: 'NeuMF' is RecBole's, not ours; train it with RecBole's run_recbole inside"),
    ],
)
def test_keys_and_names(model, keys, message, world):
    with pytest.raises(InputError, match=re.escape(message)):
        run(model, config_dict={**world, **keys})


def test_a_key_of_another_model_is_refused_in_a_class_too():
    with pytest.raises(InputError, match=r"DCCF.n_intent: unknown key; did you mean 'n_intents'\?"):
        model_class("DCCF", n_intent=3)
    with pytest.raises(InputError, match="learning_rate: is about the training, not the model"):
        model_class("DCCF", learning_rate=0.1)


def test_fields_that_are_not_there(world, tmp_path, prepare):
    """By `run` and by RecBole's own functions alike."""
    with pytest.raises(InputError, match=r"load_col: does not load 'timestamp', which SASRec needs"):
        run("SASRec", config_dict={**world, "load_col": {"inter": ["user_id", "item_id"]}})
    with pytest.raises(InputError, match=r"has no field 'time', which SASRec needs; it has user_id, item_id, timest"):
        prepare("SASRec", {**world, "TIME_FIELD": "time"})
    with pytest.raises(InputError, match=r"\(ITEM_ID_FIELD names the field\)"):
        prepare("MF", {**world, "ITEM_ID_FIELD": "article"})


@pytest.mark.parametrize(("model", "data"), [("DCCF", "SASRec"), ("SASRec", "DCCF")])
def test_a_model_of_the_wrong_task(model, data, world, prepare):
    made = prepare(data, world)
    with running(), pytest.raises(InputError, match=rf"{model} is a \w+ model, but the data set was made for another"):
        model_class(model)(made.config, made.train.dataset)


def test_the_stock_trainer_refuses_what_it_cannot_do(world, prepare):
    from recbole.trainer import Trainer

    for name, reason in (
        ("MCLRec", "makes several updates of each batch"),
        ("ICSRec", "learns from samples that RecBole's loaders do not make"),
    ):
        made = prepare(name, {**world, "n_intents": 4} if name == "ICSRec" else world)
        with running(), pytest.raises(InputError, match=f"{name} {reason}.*let get_trainer"):
            Trainer(made.config, made.model).fit(made.train, saved=False)
    made = prepare("MF", {**world, "warmup_steps": 5})
    with running(), pytest.raises(InputError, match="warmup_steps: RecBole's Trainer does not know this key"):
        Trainer(made.config, made.model).fit(made.train, saved=False)


@pytest.mark.parametrize(
    ("package", "version", "message"),
    [
        ("recbole", None, r"RecBole is not installed; pip install 'graphcl-recsys\[recbole\]' brings it"),
        ("recbole", "1.1.1", r"RecBole 1.1.1 is installed, the bridge works with 1.2.0 and 1.2.1"),
        ("recbole", "2.0", r"RecBole 2.0 is installed"),
        ("pandas", "3.0.1", r"pandas 3.0.1 is installed, under which RecBole leaves missing values"),
    ],
)
def test_versions(package, version, message, monkeypatch):
    def pretended(name):
        if name == package:
            if version is None:
                raise metadata.PackageNotFoundError
            return version
        return metadata.version(name)

    monkeypatch.setattr(requirements, "version", pretended)
    with pytest.raises(RecBoleError, match=message), running():
        pass
    with pytest.raises(RecBoleError, match=message):
        from recsys.integrations.recbole import split  # noqa: F401


def test_a_python_without_distutils(monkeypatch):
    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecBoleError, match="dropped and setuptools brings back; pip install setuptools"):
        requirements.require()


def test_several_processes():
    """RecBole sets `single_spec` where it was not started as one of several."""
    with pytest.raises(InputError, match="nproc: our models train in one process inside RecBole"):
        refuse_several_processes({"single_spec": None})


def test_data_without_users(world, prepare):
    made = prepare("MF", world)
    made.dataset.uid_field = "who"
    with pytest.raises(InputError, match="RecBole's data set 'world' has no users: field 'who' was not loaded"):
        interactions(made.dataset)
