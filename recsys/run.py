"""A trained recommender and its folder: train, evaluate, recommend, export."""

import io
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from graphcl.errors import InputError
from graphcl.training import checkpoint
from graphcl.training.loop import Log, Progress
from graphcl.training.state import BEST
from recsys import folder as files
from recsys.data.interactions import Split
from recsys.data.ragged import Ragged
from recsys.data.store import read_split, refuse_other_split, save_split
from recsys.evaluation.lists import best_lists
from recsys.evaluation.metrics import PER_USER, measure, parse, per_user
from recsys.experiment import Experiment
from recsys.models.base import UNKNOWN_USER, Index, Recommender
from recsys.models.popularity import Popularity
from recsys.report import write_report

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A trained recommender. Its folder holds everything it needs; the data set's files do not."""

    folder: Path
    experiment: Experiment
    split: Split = field(repr=False)
    model: Recommender = field(repr=False)

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """The run in `folder`, with its best weights; those so far, and a warning, if its training has not ended.

        Raises:
            InputError: the folder, the configuration or the checkpoint is missing, damaged, or of another model, or
                the run is one of an embedder.
        """
        folder = Path(folder)
        if not (folder / files.CONFIG).is_file():
            raise InputError(f"{folder}: not a run folder, it has no {files.CONFIG}; 'recsys train' names the folder")
        files.refuse_embedder(folder)
        experiment = Experiment.load(folder / files.CONFIG)
        if experiment.settings.device == "cuda" and not torch.cuda.is_available():
            experiment = Experiment.load(folder / files.CONFIG, ["device=cpu"])  # trained elsewhere, good anywhere
        split = read_split(folder / files.DATA)
        model = experiment.build(split.train)
        checkpoint.load_weights(model, checkpoint.load(folder / BEST)[0], folder / BEST)
        if not (folder / files.RESULT).exists():
            logger.warning("%s: the training has not ended, these are its best weights so far; see --resume", folder)
        return cls(folder, experiment, split, model.eval())

    @cached_property
    def result(self) -> dict[str, Any]:
        """What the training ended with: test metrics, the popularity floor, best epoch; {} if it did not end."""
        return files.read_json(self.folder / files.RESULT)

    @cached_property
    def history(self) -> Ragged:
        """All that is known of each user, oldest first."""
        return (self.split.train + self.split.valid + self.split.test).histories

    def evaluate(
        self,
        part: Literal["valid", "test"] = "test",
        names: Sequence[str] | None = None,
        *,
        mask_history: bool | None = None,
    ) -> dict[str, float]:
        """The metrics of a part, by default those of the configuration.

        Raises:
            InputError: a part or a metric is unknown, or a list would be longer than the catalogue.
        """
        if isinstance(names, str):
            raise InputError(f"names: {names!r} is one text; give a list of metrics, such as {[names]!r}")
        names = names or self.experiment.evaluation.report
        return self.experiment.measure(self.model, self.split, part, names, mask_history=mask_history)

    def recommend(
        self,
        *,
        users: Sequence[str] = (),
        histories: Sequence[Sequence[str]] = (),
        k: int = 10,
        include_seen: bool = False,
    ) -> pd.DataFrame:
        """The k items that each user, or somebody with each history, would like best.

        Args:
            users: raw ids; all that is known of them is their history.
            histories: raw item ids, oldest first, of people who need not be in the data.
            k: how many items for each.
            include_seen: whether items of the history may come again.

        Returns:
            columns `query` (user id or "history 1", ...), `rank` (from 1), `item` (raw id), `score`.

        Raises:
            InputError: an id is unknown, k is too large, or nothing unseen is left.
        """
        if not 1 <= k <= self.model.num_items:
            raise InputError(f"k: must be in 1..{self.model.num_items}, the size of the catalogue, got {k}")
        for what, ids in (("users", users), *(("histories", history) for history in (histories, *histories))):
            if isinstance(ids, str):
                raise InputError(f"{what}: {ids!r} is one text; give a list of ids, such as {[ids]!r}")
        rows = [position(self.user_positions, user, "user") for user in users]
        given = [[position(self.item_positions, item, "item") for item in history] for history in histories]
        names = [*users, *(f"history {number + 1}" for number in range(len(histories)))]
        if not names:
            raise InputError("nobody to recommend to; give a user's id or a history of item ids")
        user = torch.tensor(rows + [UNKNOWN_USER] * len(given), dtype=torch.long)
        history = self.history.take(user[: len(rows)]).join(Ragged.of(given))
        index = self.model.index()
        scores, items = best_lists(index, user.to(self.model.device), history, k, include_seen=include_seen)
        nothing = (scores[:, 0] == -torch.inf).nonzero()
        if len(nothing):
            raise InputError(
                f"{names[int(nothing[0])]}: has seen every item, nothing is left to recommend; allow seen items "
                f"(include_seen)"
            )
        frame = pd.DataFrame(
            {
                "query": [name for name in names for _ in range(k)],
                "rank": [*range(1, k + 1)] * len(names),
                "item": items.flatten().tolist(),
                "score": scores.flatten().tolist(),
            }
        )
        frame = frame[frame["score"] != float("-inf")].reset_index(drop=True)
        return frame.assign(item=[self.item_name(item) for item in frame["item"]])

    def export(self, target: str | Path) -> list[Path]:
        """Write item and user vectors, each to Parquet (raw id, vector) and npy; a score is their dot product.

        Raises:
            InputError: the model has no such vectors, or the folder cannot be written.
        """
        target = Path(target)
        with torch.no_grad():
            index = self.model.index()
            if type(index).score is not Index.score:
                raise InputError(
                    f"{self.experiment.kind}: has no vectors to export, its scores are no inner products; "
                    f"ask 'recsys recommend' for its lists"
                )
            everyone = torch.arange(self.model.num_users, device=self.model.device)
            history = self.history.last(index.length) if index.length else self.history
            users = index.ask(everyone, history.to(self.model.device))
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{target}: cannot be made ({error.strerror}); name a writable folder") from error
        written = []
        for name, vectors, names in (("items", index.items, self.item_name), ("users", users, self.user_name)):
            array = vectors.float().cpu().numpy()
            frame = pd.DataFrame({"id": [names(row) for row in range(len(array))], "vector": list(array)})
            plain = io.BytesIO()
            np.save(plain, array)
            for suffix, content in ((".parquet", frame.to_parquet()), (".npy", plain.getvalue())):
                checkpoint.write_atomically(target / f"{name}{suffix}", content)
                written.append(target / f"{name}{suffix}")
        return written

    @cached_property
    def user_positions(self) -> Mapping[str, int]:
        """Raw user id -> number."""
        return positions(self.split.train.user_ids, self.model.num_users)

    @cached_property
    def item_positions(self) -> Mapping[str, int]:
        """Raw item id -> number."""
        return positions(self.split.train.item_ids, self.model.num_items)

    def item_name(self, item: int) -> str:
        """The raw id of an item."""
        return self.split.train.item_ids[item] if self.split.train.item_ids else str(item)

    def user_name(self, user: int) -> str:
        """The raw id of a user."""
        return self.split.train.user_ids[user] if self.split.train.user_ids else str(user)


def positions(ids: tuple[str, ...] | None, count: int) -> dict[str, int]:
    """Raw id -> number; the numbers themselves where the source had no ids."""
    return {name: number for number, name in enumerate(ids or map(str, range(count)))}


def position(known: Mapping[str, int], name: str, what: str) -> int:
    """The number of a raw id.

    Raises:
        InputError: the id is not in the data.
    """
    try:
        return known[str(name)]
    except KeyError:
        some = ", ".join(list(known)[:3])
        raise InputError(f"{what} {name!r} is not in the data; known ids look like {some}, ...") from None


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
