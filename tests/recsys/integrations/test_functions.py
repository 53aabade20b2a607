"""RecBole's own functions on our models, unmodified."""

import logging

import pytest
import torch

from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import rank
from recsys.integrations.recbole import model_class, run, running, split

KEYS = {"DCCF": {"embedding_size": 16, "n_intents": 4}, "MCLRec": {"embedding_size": 16}}


def fitted(made, **options):
    """The trainer that RecBole chooses, after `fit`."""
    from recbole.utils import get_trainer

    with running():
        trainer = get_trainer(made.config["MODEL_TYPE"], made.config["model"])(made.config, made.model)
        trainer.fit(made.train, made.valid, verbose=False, **options)
    return trainer


@pytest.mark.parametrize("name", KEYS)
def test_load_data_and_model_and_full_sort_topk(name, world, prepare):
    """The loaded model is the trained one, and the top items are those that our index puts first."""
    made = prepare(name, {**world, **KEYS[name], "epochs": 2})
    trainer = fitted(made)
    with running():
        from recbole.quick_start import load_data_and_model
        from recbole.utils.case_study import full_sort_topk

        result = trainer.evaluate(made.test, load_best_model=True)
        config, model, dataset, _, _, test = load_data_and_model(trainer.saved_model_file)
        assert config["embedding_size"] == 16 and type(model).__name__ == name
        assert trainer.evaluate(test, load_best_model=False) == result
        for key, value in model.state_dict().items():
            assert torch.equal(value, made.model.state_dict()[key])
        users = dataset.token2id(dataset.uid_field, ["u5", "u3"])
        scores, items = full_sort_topk(users, model, test, k=5)
    data = split(made.train, made.valid, made.test)
    asked = torch.tensor(users) - 1
    history = (data.train + data.valid).histories.take(asked)
    index = model.recommender.index()
    expected = index.score(asked, history.last(index.length))
    if name == "DCCF":
        expected[history.row, history.values] = -torch.inf
    best = expected.topk(5)
    assert torch.equal(items, best.indices + 1)
    assert torch.allclose(scores, best.values, atol=1e-6)


@pytest.mark.parametrize("name", ["DCCF", "SASRec"])
def test_the_metrics_are_those_of_our_evaluator(name, world, prepare):
    made = prepare(name, {**world, "topk": [3, 10], "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP"]})
    trainer = fitted(made, saved=False)
    with running():
        theirs = trainer.evaluate(made.test, load_best_model=False)
    data, general = split(made.train, made.valid, made.test), name == "DCCF"
    index = made.model.recommender.index()
    ranking = rank(index, data.train + data.valid, data.test, 10, mask_history=general, repeats="candidates")
    assert measure(ranking, list(theirs)) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("name", ["EASE", "ItemKNN", "Recency"])
def test_models_without_vectors_answer_from_the_training_history(name, world, prepare):
    """As RecBole's general models, which do not see the validation part."""
    made = prepare(name, world)
    fitted(made, saved=False)
    train = split(made.train, made.valid, made.test).train
    users = torch.arange(train.num_users)
    answer = made.model.full_sort_predict({"user_id": users + 1}).view(train.num_users, -1)
    assert torch.equal(answer[:, 1:], made.model.recommender.index().score(users, train.histories))
    padding = made.model.full_sort_predict({"user_id": torch.zeros(1, dtype=torch.long)})
    assert torch.isfinite(padding[1:]).all()


@pytest.mark.parametrize("name", ["LightGCN", "NCL", "SASRec", "EASE"])
def test_recboles_own_trainer_trains_what_it_can(name, world, prepare):
    """Models of one update on plain samples; the loss falls."""
    from recbole.trainer import Trainer

    keys = {"n_clusters": 4} if name == "NCL" else {"n_layers": 1} if name == "SASRec" else {}
    made = prepare(name, {**world, **keys, "learning_rate": 0.01})
    with running():
        trainer = Trainer(made.config, made.model)
        losses = [trainer._train_epoch(made.train, epoch) for epoch in range(4)]
        trainer._save_checkpoint(3)
        result = trainer.evaluate(made.test, load_best_model=True)
    assert result["recall@10"] > 0
    if name != "EASE":
        assert losses[-1][0] < losses[0][0]


@pytest.mark.parametrize("name", ["MF", "SASRec", "ItemKNN"])
def test_pairs_score_as_in_a_full_ranking(name, world, prepare):
    """`predict`, by which RecBole evaluates among sampled negatives, against `full_sort_predict`."""
    made = prepare(name, world)
    fitted(made, saved=False)
    made.model.eval()
    batch = next(iter(made.train))
    full = made.model.full_sort_predict(batch).view(len(batch), -1)
    pairs = made.model.predict(batch)
    assert full.shape[1] == made.dataset.item_num and torch.isneginf(full[:, 0]).all()
    assert torch.allclose(pairs, full.gather(1, batch["item_id"].unsqueeze(1)).squeeze(1), atol=1e-6)
    sampled = run(name, config_dict={**world, "eval_args": {**made.config["eval_args"], "mode": "uni10"}})
    assert sampled["test_result"]["recall@10"] > 0


def test_new_weights_are_seen_at_once(world, prepare):
    made = prepare("LightGCN", world)
    made.model.eval()
    batch = next(iter(made.test))[0]
    before = made.model.full_sort_predict(batch)
    state = {name: 2 * value for name, value in made.model.state_dict().items()}
    made.model.load_state_dict(state)
    after = made.model.full_sort_predict(batch)
    finite = torch.isfinite(before)
    assert torch.allclose(after[finite], 4 * before[finite], atol=1e-6)


@pytest.mark.parametrize("algorithm", ["exhaustive", "random", "bayes"])
def test_hyper_tuning(algorithm, world, tmp_path):
    pytest.importorskip("hyperopt")
    with running():
        from recbole.quick_start import objective_function
        from recbole.trainer import HyperTuning

        model_class("DCCF", n_intents=4)

        def objective(changed, files):
            return objective_function({**world, "model": "DCCF", **changed}, files, saved=False)

        search = {"choice": {"embedding_size": [4, 8]}}
        tuning = HyperTuning(objective, params_dict=search, algo=algorithm, max_evals=2, early_stop=5)
        tuning.run()
        tuning.export_result(tmp_path / "found.txt")
    assert tuning.best_params["embedding_size"] in (4, 8) and "embedding_size" in (tmp_path / "found.txt").read_text()
    if algorithm == "exhaustive":
        assert len(tuning.params2result) == 2
    best = max(tuning.params2result.values(), key=lambda found: found["best_valid_score"])
    assert tuning.best_score == best["best_valid_score"]
    with pytest.raises(ValueError, match="n_intent"), running():
        HyperTuning(objective, params_dict={"choice": {"n_intent": [1]}}, algo="random", max_evals=1).run()


@pytest.mark.parametrize("name", ["LightGCN", "SGL", "LightGCL", "DCCF", "ICLRec"])
def test_flops_are_counted_on_a_copy(name, world, prepare):
    """`get_flops` copies a model with all its sparse matrices, and leaves the model as it was."""
    made = prepare(name, {**world, **({"n_intents": 4} if name == "ICLRec" else {})})
    before = {key: value.clone() for key, value in made.model.state_dict().items()}
    with running():
        from recbole.data.transform import construct_transform
        from recbole.utils import get_flops

        transform = construct_transform(made.config)
        flops = get_flops(made.model, made.dataset, torch.device("cpu"), logging.getLogger(), transform)
    assert flops >= 0
    after = made.model.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(value, before[key]) for key, value in after.items())
