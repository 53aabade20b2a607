"""The training of a recommender: from a configuration to a run folder."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from graphcl.errors import InputError
from graphcl.training import checkpoint
from graphcl.training.loop import Log, Progress
from recsys import folder as files
from recsys.data.interactions import Split
from recsys.data.store import refuse_other_split, save_split
from recsys.evaluation.metrics import PER_USER, measure, parse, per_user
from recsys.experiment import Experiment
from recsys.models.popularity import Popularity
from recsys.report import write_report
from recsys.run import Run

logger = logging.getLogger(__name__)


def train(
    source: str | Path | Mapping[str, Any] | Experiment,
    overrides: Iterable[str] = (),
    *,
    resume: bool = False,
    split: Split | None = None,
    log: Log = lambda record: None,
    progress: Progress = lambda batches, total, title: batches,
    started: Callable[[Path], None] = lambda folder: None,
) -> Run:
    """Train a recommender as a configuration says, and look at its test part once.

    Args:
        source: a YAML file, a tree of keys, or an experiment.
        overrides: keys set anew, such as "model.embedding_size=32".
        resume: go on with the newest run folder of the same configuration, if there is one.
        split: the data, if it is at hand already; the run folder keeps it, while the keys `dataset`, `split` and
            `filters` of the configuration stay what they were.
        log: receives a record per epoch.
        progress: wraps the batches of each epoch.
        started: is told the run folder before training begins.

    Raises:
        InputError: the configuration, the data or the folder is at fault.
        NotFiniteError: a loss or gradient is not finite; the message names it.
    """
    if not isinstance(source, Experiment):
        source = Experiment.load(source, overrides)
    experiment = source
    data = experiment.split() if split is None else split
    if not isinstance(data, Split):
        raise InputError(
            f"split: must be a recsys.Split, got {type(data).__name__}; recsys.split_interactions makes one of events"
        )
    found = files.find_same(experiment.tree(), lambda then: Experiment.load(then).tree()) if resume else None
    if found is not None:
        refuse_other_split(found / files.DATA, data)
    elif resume:
        logger.warning("output %s: no run has this very configuration; a new one begins", experiment.settings.output)
    if found is not None and files.read_json(found / files.RESULT):
        started(found)
        if not (found / files.REPORT).exists():
            write_report(found)
        return Run.open(found)
    experiment.refuse_unmeasurable(data)
    model = experiment.build(data.train)
    model.sampler()  # what the data has too little of is said before there is a folder
    dataset = Path(data.protocol.get("dataset", "data")).name
    name = f"{dataset}-{experiment.kind}-{experiment.settings.seed}"
    folder = found or files.create(Path(experiment.settings.output).expanduser(), name)
    started(folder)
    if found is None:
        furnish(folder, experiment, data)
    metrics = files.MetricsFile(folder)

    def keep(record: dict[str, Any]) -> None:
        metrics.write(record)
        log(record)

    with files.discarded_unless_begun(folder, new=found is None):
        outcome = experiment.fit(model, data, folder=folder, resume=resume, log=keep, progress=progress)
    return finish(Run(folder, experiment, data, model), asdict(outcome))


def furnish(folder: Path, experiment: Experiment, data: Split) -> None:
    """Put data, environment and, last of all, the configuration into a new run folder: now it can be resumed."""
    save_split(folder / files.DATA, data)
    files.write_json(folder / files.ENVIRONMENT, files.environment({"digest": data.digest, **data.protocol}))
    files.write_config(folder, experiment.tree())


def finish(run: Run, outcome: Mapping[str, Any]) -> Run:
    """Look at the test part, once, and write the result, the values per user and the report."""
    experiment, folder, names = run.experiment, run.folder, run.experiment.evaluation.report
    ranking = experiment.rank(run.model, run.split, "test", names)
    counts = run.split.train.item_counts
    frame = per_user(ranking, [name for name in names if parse(name)[0] in PER_USER], item_counts=counts)
    frame.insert(0, "user_id", [run.user_name(user) for user in ranking.users.tolist()])
    checkpoint.write_atomically(folder / files.PER_USER, frame.to_parquet())
    result = {
        "model": experiment.kind,
        "test": measure(ranking, names, item_counts=counts),
        "popularity": popularity_floor(experiment, run.split),
        **outcome,
        "data": run.split.digest,
        "protocol": ranking.protocol,
    }
    files.write_json(folder / files.RESULT, result)
    write_report(folder)
    return run


def popularity_floor(experiment: Experiment, split: Split) -> dict[str, float]:
    """What recommending the most popular items to everybody reaches on the test part."""
    model = replace(experiment, model=Popularity, config=Popularity.Config()).build(split.train)
    with torch.no_grad():
        model.begin_epoch(model.sampler())
    return experiment.measure(model, split, "test", experiment.evaluation.report)
