"""The search: what it sees, what it keeps, and that an interruption changes nothing."""

import json
import re
from dataclasses import fields, replace

import pytest
import yaml
from optuna.distributions import FloatDistribution, IntDistribution
from worlds import checkerboard

from graphcl.errors import InputError
from graphcl.training.lock import locked
from recsys import tune
from recsys.experiment import Experiment
from recsys.models import MODELS
from recsys.search_space import USUAL, Between, applicable, distribution, refuse_misfits, searchable, space_of, usual
from recsys.tune import search, summary, write_best

SPACE = {"learning_rate": Between(low=1e-3, high=0.1, log=True), "n_layers": (1, 2)}


@pytest.fixture(scope="module")
def experiment():
    return Experiment.load(
        {
            "model": {"kind": "lightgcn", "embedding_size": 4},
            "training": {"epochs": 2, "train_batch_size": 64},
        }
    )


@pytest.fixture(scope="module")
def world():
    return checkerboard(num_users=30)


def without_seconds(trials):
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in trials]


def test_the_first_trial_is_the_configuration_and_the_best_can_be_trained(tmp_path, experiment, world):
    done = search(experiment, SPACE, tmp_path, trials=7, split=world)
    assert done[0]["keys"] == {} and all(
        set(t["keys"]) == {"training.learning_rate", "model.n_layers"} for t in done[1:]
    )
    assert all(1e-3 <= trial["keys"]["training.learning_rate"] <= 0.1 for trial in done[1:])
    assert len({trial["keys"]["training.learning_rate"] for trial in done[1:]}) == 6
    best = max(done, key=lambda trial: trial["value"])
    assert summary(done, experiment).best == best["number"]
    written = Experiment.load(write_best(tmp_path, done, experiment))
    outcome = written.fit(written.build(world.train), world)
    assert outcome.best_value == best["value"]


def test_the_test_part_decides_nothing(tmp_path, experiment, world):
    done = search(experiment, SPACE, tmp_path / "a", trials=3, split=world)
    other = replace(world, test=world.test.take(world.test.user < 3))
    assert without_seconds(search(experiment, SPACE, tmp_path / "b", trials=3, split=other)) == without_seconds(done)


def test_a_search_goes_on_as_if_never_interrupted(tmp_path, experiment, world, monkeypatch):
    whole = search(experiment, SPACE, tmp_path / "whole", trials=7, split=world)
    attempt, calls = tune.attempt, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return attempt(*arguments)

    monkeypatch.setattr(tune, "attempt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(experiment, SPACE, tmp_path / "cut", trials=7, split=world)
    assert len(search(experiment, SPACE, tmp_path / "cut", trials=6, split=world)) == 6
    again = search(experiment, SPACE, tmp_path / "cut", trials=7, split=world)
    assert without_seconds(again) == without_seconds(whole)
    assert len(calls) == 8  # five that ended, the one that was cut, and two more: none twice


def test_a_spent_budget_starts_no_trial(tmp_path, experiment, world):
    assert len(search(experiment, SPACE, tmp_path, trials=7, budget=1e-9, split=world)) == 1


def test_a_trial_that_diverges_is_kept_and_never_the_best(tmp_path, experiment, world):
    done = search(experiment, {"learning_rate": (1e30,)}, tmp_path, trials=2, split=world)
    assert done[1]["value"] is None and "loss term" in done[1]["failure"]
    assert summary(done, experiment).best == 0


@pytest.mark.parametrize("kind", ["dccf", "icsrec"])
def test_a_trial_whose_objective_is_not_finite_costs_its_place(tmp_path, world, kind):
    tree = {"model": {"kind": kind, "embedding_size": 8, "n_intents": 2}, "training": {"epochs": 2}, "device": "cpu"}
    done = search(Experiment.load(tree), {"learning_rate": (1e30,)}, tmp_path, trials=3, split=world)
    assert done[0]["value"] is not None and done[2]["value"] is None
    assert "not finite" in done[1]["failure"]


def test_any_seed_of_a_training_can_begin_a_search(world, tmp_path, experiment):
    wide = replace(experiment, settings=replace(experiment.settings, seed=2**32))
    assert len(search(wide, SPACE, tmp_path, trials=2, split=world)) == 2


def test_a_trial_that_the_data_refuses_is_kept(tmp_path, world):
    tree = {"model": {"kind": "icsrec", "n_intents": 2, "embedding_size": 8}, "training": {"epochs": 1}}
    sequential = Experiment.load({**tree, "device": "cpu"})
    done = search(sequential, {"n_intents": (10**6,)}, tmp_path / "some", trials=2, split=world)
    assert done[0]["value"] is not None and "choose fewer intents" in done[1]["failure"]
    with pytest.raises(InputError, match="choose fewer intents"):
        search(
            Experiment.load({"model": {"kind": "icsrec"}}),
            {"n_layers": (1, 2)},
            tmp_path / "none",
            trials=1,
            split=world,
        )


def test_the_evaluation_is_not_searched(experiment):
    with pytest.raises(InputError, match=r"search\.mask_history: unknown key"):
        refuse_misfits({"mask_history": (True, False)}, experiment)


def test_a_folder_belongs_to_one_search(tmp_path, experiment, world):
    search(experiment, SPACE, tmp_path, trials=1, split=world)
    with pytest.raises(InputError, match="another configuration or space; name another folder"):
        search(experiment, {"n_layers": (1, 3)}, tmp_path, trials=2, split=world)


def test_a_folder_belongs_to_one_split(tmp_path, experiment, world):
    search(experiment, SPACE, tmp_path, trials=1, split=world)
    other = replace(world, train=world.train.take(world.train.user < 20))
    with pytest.raises(InputError, match=r"holds a search on the split .* name another folder"):
        search(experiment, SPACE, tmp_path, trials=2, split=other)


def test_a_mistake_that_no_trial_can_mend_claims_no_folder(tmp_path, world):
    long = Experiment.load({"model": "lightgcn", "evaluation": {"report": ["recall@500"]}})
    with pytest.raises(InputError, match="shorten them"):
        search(long, SPACE, tmp_path / "search", trials=1, split=world)
    assert not (tmp_path / "search").exists()


def test_models_know_what_is_usual_for_them(experiment):
    assert usual(experiment) == USUAL
    ease = Experiment.load({"model": "ease"})
    assert applicable(usual(ease), ease) == {"model.reg_weight": Between(low=10.0, high=2000.0, log=True)}
    for kind, model in MODELS.items():
        refuse_misfits(searchable(usual(tried := Experiment.load({"model": kind})), tried), tried)
        assert set(space_of(model.usual_search)) <= {key.name for key in fields(model.Config)}


def test_a_closed_form_that_fails_costs_one_trial(tmp_path, world):
    ease = Experiment.load({"model": "ease"})
    done = search(ease, {"reg_weight": (1e-30,)}, tmp_path, trials=2, split=world)
    assert done[0]["epochs"] == 1
    assert done[1]["value"] is None and "too small to invert" in done[1]["failure"]


def test_the_training_loss_chooses_no_trial(tmp_path, experiment, world):
    by_loss = replace(experiment, evaluation=replace(experiment.evaluation, monitor="loss"))
    with pytest.raises(InputError, match="a search chooses on validation"):
        search(by_loss, SPACE, tmp_path, trials=1, split=world)


def test_data_without_a_validation_part_is_refused(tmp_path, experiment, world):
    with pytest.raises(InputError, match="no validation part"):
        search(
            experiment, SPACE, tmp_path, trials=1, split=replace(world, valid=world.valid.take(world.valid.user < 0))
        )


def test_every_mistake_of_a_space_at_once(experiment):
    with pytest.raises(InputError) as caught:
        refuse_misfits(
            space_of({"learning_rat": [0.1], "n_layers": [1, -1], "reg_weight": {"low": -1, "high": 1}}), experiment
        )
    message = str(caught.value)
    assert "search.learning_rat: unknown key; did you mean 'learning_rate'?" in message
    assert "search.model.n_layers: must be >= 0 (got -1)" in message and "search.model.reg_weight" in message
    with pytest.raises(InputError) as caught:
        space_of({"a": 3, "b": {"low": 2, "high": 1}, "c": {"low": 0, "hihg": 1}})
    message = str(caught.value)
    assert "search.a: write" in message and "search.b: low 2, high 1: must rise" in message and "'high'" in message


def test_the_command(tmp_path, command, config):
    space = tmp_path / "space.yaml"
    space.write_text(yaml.safe_dump({"learning_rate": {"low": 0.01, "high": 0.1, "log": True}}))
    arguments = ("tune", config, "epochs=1", "--space", space)
    status, out, err = command(*arguments, "--trials", 2)
    folder = tmp_path / "runs" / "tune-shop-lightgcn"
    assert status == 0 and "valid ndcg@10" in out and "trial 1:" in err and str(folder / "best.yaml") in out
    status, out, err = command(*arguments, "--trials", 3)
    assert status == 0 and "trial 2:" in err and "trial 1:" not in err
    assert len([json.loads(line) for line in (folder / "trials.jsonl").open()]) == 3
    assert command("train", folder / "best.yaml")[0] == 0
    space.write_text("learning_rat: [0.1]")
    status, _, err = command(*arguments)
    assert status == 1 and "did you mean 'learning_rate'?" in err and "Traceback" not in err
    status, _, err = command("tune", config, "--budget", 0)
    assert status == 1 and "budget: must be more than 0 seconds" in err


def test_keys_that_a_model_refuses_together_are_a_failed_trial(tmp_path, world):
    """NCL contrasts with an even layer that it has; the second layer needs two."""
    ncl = Experiment.load(
        {
            "model": {"kind": "ncl", "embedding_size": 4, "n_clusters": 2},
            "training": {"epochs": 1, "train_batch_size": 64},
        }
    )
    done = search(ncl, {"n_layers": (1,)}, tmp_path, trials=2, split=world)
    assert done[0]["value"] is not None
    assert done[1]["value"] is None and "cl_layer" in done[1]["failure"]
    assert summary(done, ncl).best == 0


def test_a_search_tries_the_model_and_its_training_only():
    """Whoever could search the rules of judgement would find the most flattering."""
    experiment = Experiment.load({"dataset": "ml-100k", "model": "lightgcn"})
    assert searchable(space_of({"mask_history": [True, False]}), experiment) == {}
    for key in ("evaluation.mask_history", "model.n_layer"):
        with pytest.raises(InputError, match=f"search.{key}: is no key of the model or its training"):
            searchable(space_of({key: [1, 2]}), experiment)


def test_a_range_of_whole_numbers_may_be_written_as_1e2():
    experiment = Experiment.load({"dataset": "ml-100k", "model": "lightgcn"})
    space = space_of(
        {"train_batch_size": {"low": 1e2, "high": 1e4, "log": True}, "reg_weight": {"low": 0.0, "high": 1.0}}
    )
    found = searchable(space, experiment)
    assert isinstance(distribution(found["training.train_batch_size"]), IntDistribution)
    assert isinstance(distribution(found["model.reg_weight"]), FloatDistribution)


def test_a_search_that_cannot_begin_leaves_its_folder_free(tmp_path, world):
    def search_with(**model):
        one = Experiment.load({"model": model, "training": {"epochs": 1, "train_batch_size": 64}})
        return search(one, {"embedding_size": (16, 32)}, tmp_path / "found", trials=1, split=world)

    with pytest.raises(InputError, match="n_intents: 5000 clusters need"):
        search_with(kind="icsrec", n_intents=5000)
    assert search_with(kind="icsrec", n_intents=4)[0]["value"] is not None


def test_one_search_at_a_time(tmp_path, experiment, world):
    with locked(tmp_path / ".lock", "this"), pytest.raises(InputError, match=r"the search in .* is being run by"):
        search(experiment, SPACE, tmp_path, trials=1, split=world)


def test_a_key_that_a_space_names_twice_is_refused(tmp_path, experiment, world):
    with pytest.raises(InputError, match=r"model\.n_layers is named twice"):
        search(experiment, {"model.n_layers": (1,), "n_layers": (2,)}, tmp_path, trials=1, split=world)


@pytest.mark.parametrize("budget", [0, -1, float("nan")])
def test_no_time_at_all_is_refused(tmp_path, experiment, world, budget):
    with pytest.raises(InputError, match="budget: must be more than 0 seconds"):
        search(experiment, SPACE, tmp_path, trials=1, budget=budget, split=world)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda line: "", "is empty, a search has at least one trial"),
        (lambda line: line.replace('"number": 0', '"number": 1'), "line 1: is not trial 0 of this search"),
        (lambda line: line.replace('"keys": {}', '"keys": {"no.key": 1}'), "line 1: is not trial 0"),
        (lambda line: re.sub('"value": [^,]*', '"value": "high"', line), "line 1: is not trial 0"),
        (lambda line: re.sub('"value": [^,]*', '"value": NaN', line), "line 1: is not trial 0"),
        (lambda line: re.sub('"seconds": [^}]*', '"seconds": -1.0', line), "line 1: is not trial 0"),
        (lambda line: "[" * 100_000, "is damaged"),
        (lambda line: "[]", "line 1: is not trial 0"),
    ],
)
def test_trials_that_somebody_edited_are_named_and_kept(tmp_path, experiment, world, spoil, sentence):
    search(experiment, SPACE, tmp_path, trials=1, split=world)
    path = tmp_path / "trials.jsonl"
    path.write_text(spoil(path.read_text()))
    edited = path.read_text()
    with pytest.raises(InputError, match=f"trials.jsonl.*{sentence}"):
        search(experiment, SPACE, tmp_path, trials=2, split=world)
    assert path.read_text() == edited


@pytest.mark.parametrize("keys", ['{"training.learning_rate": 7.0}', '{"model.n_layers": 1}', "{}"])
def test_a_trial_of_another_space_is_named(tmp_path, experiment, world, keys):
    space = {"learning_rate": Between(low=0.01, high=0.1)}
    search(experiment, space, tmp_path, trials=2, split=world)
    path = tmp_path / "trials.jsonl"
    path.write_text(re.sub(r'"keys": {"[^}]*}', f'"keys": {keys}', path.read_text()))
    with pytest.raises(InputError, match=r"trials.jsonl, line 2: is not trial 1"):
        search(experiment, space, tmp_path, trials=3, split=world)


@pytest.mark.parametrize("size", [10**12, 10**18, 10**25])
def test_a_size_beyond_memory_is_a_failed_trial(tmp_path, experiment, world, size):
    done = search(experiment, {"embedding_size": (size,)}, tmp_path, trials=2, split=world)
    assert done[0]["value"] is not None
    assert done[1]["value"] is None and done[1]["failure"]
