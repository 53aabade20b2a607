"""Search for hyper-parameters: every trial recorded, chosen on validation, the test part never looked at.

A trial is a function of the trials before it and of the seed, so that a search that was killed goes on as if nothing
had happened: its folder holds `trials.jsonl` and nothing else that counts.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import torch

from graphcl.errors import InputError, NotFiniteError
from graphcl.ranges import Count, Weight, Whole
from graphcl.training.checkpoint import write_atomically
from graphcl.training.lock import locked
from graphcl.training.loop import Progress
from recsys import folder as files
from recsys.config import ConfigError
from recsys.data.interactions import Split
from recsys.experiment import Experiment
from recsys.search_space import Space, admits, applicable, distribution, plain

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

RESTORE = "restore it or begin in another folder"
TRIALS, BEST, PURPOSE = "trials.jsonl", "best.yaml", "search.json"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search has found, as it lies beside the tables of the benchmarks."""

    trials: Count
    """How many were made."""
    best: Whole
    """Number of the best, from 0; 0 is the configuration as it was given."""
    value: float
    """What it reached on validation."""
    seconds: Weight
    """Wall seconds of all trials."""
    epochs: Count
    """Passes per trial, at most."""
    failed: Whole = 0
    """How many trials ended without a value."""
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


def search(
    experiment: Experiment,
    space: Space,
    folder: Path,
    *,
    trials: int,
    budget: float = math.inf,
    split: Split | None = None,
    log: Callable[[Mapping[str, Any]], None] = lambda trial: None,
    progress: Progress = lambda batches, total, title: batches,
) -> list[dict[str, Any]]:
    """Make up to `trials` trials, the first with the configuration as it is; returns all, also earlier ones.

    budget: no trial is started when the trials have taken this many seconds of wall time.
    log: receives each trial when it has ended: number, keys, value, best epoch, seconds.
    progress: wraps the batches of each epoch.

    Raises:
        InputError: the budget is none, the space or the data does not fit the model, nothing is measured on validation,
            or `folder` holds another search, or another process is at it.
    """
    if not budget > 0:
        raise InputError(f"budget: must be more than 0 seconds, got {budget}")
    if experiment.evaluation.monitor == "loss":
        raise InputError("evaluation.monitor: a search chooses on validation, loss is of training; name a metric")
    space = applicable(space, experiment)
    data = split or experiment.split()
    experiment.refuse_unmeasurable(data)
    experiment.build(data.train).sampler()  # what the data has too little of is said before there is a folder
    with locked(folder / ".lock", f"the search in {folder}"):
        done = claim(folder, experiment, space, data.digest)
        while len(done) < trials and sum(trial["seconds"] for trial in done) < budget:
            keys = propose(done, space, experiment.settings.seed)
            outcome = attempt(experiment, keys, data, folder / f"trial-{len(done)}", progress)
            trial = {"number": len(done), "keys": keys, **outcome}
            done.append(trial)
            write_atomically(folder / TRIALS, "".join(json.dumps(each) + "\n" for each in done).encode())
            log(trial)
    return done


def is_another(folder: Path, experiment: Experiment, space: Space) -> bool:
    """Whether `folder` holds a search with another configuration or space than this.

    Raises:
        InputError: the file that says so is damaged.
    """
    path = folder / PURPOSE
    try:
        return path.exists() and json.loads(path.read_text())["search"] != purpose_of(experiment, space)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is damaged ({error}); {RESTORE}") from error


def purpose_of(experiment: Experiment, space: Space) -> str:
    """Tells one search from another."""
    text = experiment.digest + json.dumps(plain(applicable(space, experiment)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def claim(folder: Path, experiment: Experiment, space: Space, data: str) -> list[dict[str, Any]]:
    """The trials that `folder` holds of this very search on the split `data`; a new folder is marked as its own."""
    if is_another(folder, experiment, space):
        raise InputError(f"{folder}: holds a search with another configuration or space; name another folder")
    if (saved := files.read_json(folder / PURPOSE).get("data", data)) != data:
        raise InputError(f"{folder}: holds a search on the split {saved}, the data is now {data}; name another folder")
    if not (folder / PURPOSE).exists():
        mark = {"search": purpose_of(experiment, space), "data": data, "space": plain(space)}
        write_atomically(folder / PURPOSE, json.dumps(mark, indent=1).encode())
    return read_trials(folder / TRIALS, space)


def read_trials(path: Path, space: Space) -> list[dict[str, Any]]:
    """The trials in a file, none where it is not there.

    Raises:
        InputError: it is damaged, or not what a search over this space writes.
    """
    if not path.exists():
        return []
    try:
        trials = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({error}); {RESTORE}") from error
    if not trials:
        raise InputError(f"{path}: is empty, a search has at least one trial; {RESTORE}")
    for number, trial in enumerate(trials):
        if not is_trial(trial, number, space):
            raise InputError(f"{path}, line {number + 1}: is not trial {number} of this search; {RESTORE}")
    return trials


def is_trial(trial: Any, number: int, space: Space) -> bool:
    """Whether a line is what a search over this space writes of its trial of that number."""
    if not isinstance(trial, dict) or trial.get("number") != number or not isinstance(trial.get("keys"), dict):
        return False
    value, seconds = trial.get("value"), trial.get("seconds")
    told = value is None and isinstance(trial.get("failure"), str)
    measured = isinstance(value, float) and math.isfinite(value)
    timed = isinstance(seconds, float) and math.isfinite(seconds) and seconds >= 0
    drawn = trial["keys"] == {} if number == 0 else trial["keys"].keys() == space.keys()
    admitted = all(admits(space[key], value) for key, value in trial["keys"].items()) if drawn else False
    return timed and (told or measured) and admitted


def propose(done: list[dict[str, Any]], space: Space, seed: int) -> dict[str, Any]:
    """The keys of the next trial: none first, then as a tree of Parzen estimators proposes from all before."""
    if not done:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=(seed + len(done)) % 2**32, n_startup_trials=5)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    spread = {key: distribution(choice) for key, choice in space.items()}
    remember(study, done, spread)
    return dict(study.ask(spread).params)


def remember(study: "Study", done: Iterable[Mapping[str, Any]], spread: Mapping[str, "BaseDistribution"]) -> None:
    """Tell a fresh study of the trials that drew their keys from the space and did not diverge."""
    import optuna

    for trial in done:
        if trial["keys"] and trial["value"] is not None:
            study.add_trial(
                optuna.trial.create_trial(params=trial["keys"], distributions=dict(spread), value=trial["value"])
            )


def attempt(
    experiment: Experiment, keys: Mapping[str, Any], data: Split, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Train with `keys`; what validation says: None where they are refused, a loss is not finite or memory is full."""
    folder.mkdir(exist_ok=True)
    started = time.perf_counter()
    try:
        tried = with_keys(experiment, keys)
        try:
            model = tried.build(data.train)
            model.sampler()
        except InputError as error:
            raise ConfigError(str(error)) from error
        outcome = tried.fit(model, data, folder=folder, resume=True, progress=progress)
        result: dict[str, Any] = {
            "value": outcome.best_value,
            "best_epoch": outcome.best_epoch,
            "epochs": outcome.last_epoch + 1,
        }
    except (ConfigError, NotFiniteError, MemoryError, RuntimeError, TypeError) as error:
        if not (isinstance(error, ConfigError | NotFiniteError) or is_too_large(error)):
            raise
        result = {"value": None, "failure": str(error).partition("\nException raised from")[0]}
    rmtree(folder)
    return {**result, "seconds": time.perf_counter() - started}


def is_too_large(error: Exception) -> bool:
    """Whether memory ran out, or a size is beyond what torch can count: it has no exception of its own for the CPU."""
    told = ("allocate memory", "size calculation overflowed", "failed to unpack the object")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in told)


def with_keys(experiment: Experiment, keys: Mapping[str, Any]) -> Experiment:
    """The experiment with some keys set anew."""
    return Experiment.load(experiment.tree(), [f"{key}={json.dumps(value)}" for key, value in keys.items()])


def write_best(folder: Path, done: list[dict[str, Any]], experiment: Experiment) -> Path:
    """Write the complete configuration of the best trial, which `recsys train` reads; returns its path."""
    best = done[summary(done, experiment).best]
    files.write_yaml(folder / BEST, with_keys(experiment, best["keys"]).tree())
    return folder / BEST


def summary(done: list[dict[str, Any]], experiment: Experiment) -> Found:
    """The best trial and what was spent to find it.

    Raises:
        InputError: all trials failed.
    """
    ended = [trial for trial in done if trial["value"] is not None]
    if not ended:
        raise InputError(f"search: every trial failed, the last one so: {done[-1]['failure']}")
    best = max(ended, key=lambda trial: trial["value"])
    blocks: dict[str, dict[str, Any]] = {"model": {}, "training": {}}
    for key, value in best["keys"].items():
        block, _, name = key.partition(".")
        blocks[block][name] = value
    return Found(
        trials=len(done),
        best=best["number"],
        value=best["value"],
        seconds=round(sum(trial["seconds"] for trial in done), 1),
        epochs=experiment.training.epochs,
        failed=sum(trial["value"] is None for trial in done),
        **blocks,
    )
