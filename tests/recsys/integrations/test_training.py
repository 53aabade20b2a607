"""One training, whether RecBole drives it or we do."""

import pytest
import torch

from graphcl.training import loop
from recsys.experiment import Experiment
from recsys.integrations.recbole import run, running, split
from recsys.models import MODELS

STEPS = 20
MODEL_KEYS = {
    "LightGCN": {"n_layers": 2, "embedding_size": 16},
    "DCCF": {"embedding_size": 16, "n_intents": 8},
    "ICSRec": {"embedding_size": 16, "n_intents": 8, "max_length": 20},
    "MCLRec": {"embedding_size": 16, "cl_weight": 0.1, "max_length": 20},
}


class EnoughError(Exception):
    """As many steps as are compared."""


def first_losses(monkeypatch, train):
    """The named losses of every update of the first `STEPS` batches."""
    seen = []
    update = loop.update

    def watched(learner, losses, phase, state, training, rate):
        if state.step == STEPS:
            raise EnoughError
        seen.append({name: float(loss.detach()) for name, loss in losses.items()} | {"step": state.step})
        return update(learner, losses, phase, state, training, rate)

    with monkeypatch.context() as patch, pytest.raises(EnoughError):
        patch.setattr(loop, "update", watched)
        train()
    return seen


def compare(name, keys, written, prepare, monkeypatch):
    updates = 3 if name == "MCLRec" else 1
    inside = first_losses(monkeypatch, lambda: run(name, config_dict={**written, **keys}))
    parts = prepare(name, {**written, **keys})
    data = split(parts.train, parts.valid, parts.test)
    kind = name.lower()
    training = {"epochs": written["epochs"], "train_batch_size": written["train_batch_size"], "learning_rate": 1e-3}
    tree = {"model": {"kind": kind, **keys}, "training": training, "seed": 2020, "device": "cpu"}
    experiment = Experiment.load(tree)
    outside = first_losses(monkeypatch, lambda: experiment.fit(experiment.build(data.train), data))
    assert len(inside) == STEPS * updates
    assert [sorted(losses) for losses in inside] == [sorted(losses) for losses in outside]
    for mine, theirs in zip(inside, outside, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6, rel=1e-6)
    assert inside[0]["step"] == 0 and inside[-1]["step"] == STEPS - 1


@pytest.mark.parametrize("name", MODEL_KEYS)
def test_the_first_losses_are_the_same_inside_and_outside(name, world, prepare, monkeypatch):
    """Over several epochs, with an evaluation after each."""
    written = {**world, "epochs": 5, "train_batch_size": 32 if MODELS[name.lower()].task == "general" else 40}
    compare(name, MODEL_KEYS[name], written, prepare, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODEL_KEYS)
def test_the_first_losses_are_the_same_on_movielens(name, quiet, prepare, monkeypatch):
    written = {**quiet, "dataset": "ml-100k", "train_batch_size": 256}
    compare(name, MODEL_KEYS[name], written, prepare, monkeypatch)


@pytest.mark.parametrize(
    ("name", "keys"), [("NCL", {"n_clusters": 4}), ("MCLRec", {"embedding_size": 16, "max_length": 4})]
)
def test_a_resumed_training_ends_with_the_same_weights(name, keys, world, prepare):
    """Bit for bit, from a file that holds plain data: it loads with weights only."""
    written = {**world, **keys, "stopping_step": 100, "train_batch_size": 128}

    def trained(epochs, resume=None):
        from recbole.utils import get_trainer

        made = prepare(name, {**written, "epochs": epochs})
        with running():
            trainer = get_trainer(made.config["MODEL_TYPE"], made.config["model"])(made.config, made.model)
            if resume:
                trainer.resume_checkpoint(resume)
            trainer.fit(made.train, saved=resume is None)
        return made.model.state_dict(), trainer.saved_model_file

    whole, _ = trained(3)
    _, file = trained(1)
    assert "state_dict" in torch.load(file, weights_only=True)
    resumed, _ = trained(3, resume=file)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_recboles_keys_keep_their_meaning(world, prepare):
    """And ours are accepted beside them."""
    from recbole.utils import get_trainer

    written = {"hidden_dropout_prob": 0.3, "hidden_size": 32, "loss_type": "BPR", "MAX_ITEM_LIST_LENGTH": 7}
    written |= {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 2}, "learner": "adagrad"}
    written |= {"clip_grad_norm": {"max_norm": 2.0}, "weight_decay": 0.01, "stopping_step": 3, "eval_step": 2}
    made = prepare("SASRec", {**world, **written, "epochs": 4, "warmup_steps": 9, "attention_dropout": 0.4})
    config = made.model.recommender.config
    assert (config.hidden_dropout, config.attention_dropout, config.embedding_size) == (0.3, 0.4, 32)
    assert (config.loss, config.n_negatives, config.max_length) == ("bpr", 2, 7)
    with running():
        trainer = get_trainer(made.config["MODEL_TYPE"], made.config["model"])(made.config, made.model)
    assert isinstance(trainer.optimizer, torch.optim.Adagrad)
    assert (trainer.stopping_step, trainer.eval_step, trainer.epochs) == (3, 2, 4)
    training = trainer.regime.training
    assert (training.clip_norm, training.weight_decay, training.warmup_steps) == (2.0, 0.01, 9)
    assert training.train_batch_size == world["train_batch_size"] // 2  # RecBole counts pairs of items


def test_keys_of_a_class_give_way_to_the_configuration(world, prepare):
    made = prepare("DCCF", {**world, "n_layers": 3}, n_layers=1, n_intents=5)
    assert (made.model.recommender.config.n_layers, made.model.recommender.config.n_intents) == (3, 5)
