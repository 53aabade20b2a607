"""Our LightGCN and SASRec beside RecBole's own: an epoch and a full-ranking evaluation, on the very same splits.

Both sides have RecBole's default sizes (64 wide, two layers, batches of 2048), losses, metrics and masking rule; each
measurement is a process of its own with one thread. RecBole runs unchanged, except that autograd's anomaly mode, which
it leaves on by accident, is off: that favours it. Its evaluation is taken at its default batch and at the best of some.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.recbole_side import (
    KEYS,
    METRICS,
    NAMES,
    TASKS,
    Cost,
    Work,
    best_seconds,
    peak_mib,
    ranked,
    seen_before,
    theirs,
)
from benchmarks.report_document import Document, Section, markdown
from benchmarks.report_speed import parts, read
from benchmarks.speed_result import Measured, publish
from graphcl.training.checkpoint import write_atomically
from recsys.data.catalog import load_split
from recsys.evaluation.metrics import measure

DATA = ("ml-100k", "amazon-beauty-5core")
DEFAULT = 4096
"""RecBole's eval_batch_size: cells of users times items for general models, rows for sequential ones."""
OTHERS = {"lightgcn": (16, 64, 256, 1024), "sasrec": (64, 256, 1024)}
"""Users per batch of an evaluation, among which RecBole's best is looked for."""
NOTE = (
    "CPU seconds of one thread, the best of all repetitions; memory is the growth of the peak resident set above the "
    "imports. RecBole's SASRec epoch is that of 8 batches in proportion. In every evaluation both sides gave the same "
    "ten metrics of the same vectors to 6 digits."
)


@dataclass(frozen=True)
class Row:
    """One comparison."""

    job: str
    data: str
    batch: str
    """Of RecBole."""
    recbole: Cost
    ours: Cost
    goal: float

    @property
    def values(self) -> tuple[Any, ...]:
        """As a row of the table."""
        ratio = self.recbole.cpu_seconds / self.ours.cpu_seconds
        seconds, memory = (self.recbole.cpu_seconds, self.ours.cpu_seconds), (self.recbole.mib, self.ours.mib)
        return (self.job, self.data, self.batch, *seconds, ratio, self.goal, *memory)


COLUMNS = {
    "job": "",
    "data": "",
    "RecBole's batch": "",
    "RecBole s": ".3g",
    "ours s": ".3g",
    "ratio": ".1f",
    "goal": "g",
    "RecBole MiB": ".0f",
    "our MiB": ".0f",
}


def ours(model: str, data: str, work: Work) -> Cost:
    """One job done by this library."""
    from graphcl.training.loop import run_epoch
    from graphcl.training.state import TrainingState
    from recsys.experiment import Experiment

    torch.set_num_threads(1)
    before = peak_mib()
    tree = {"model": {"kind": model, **KEYS[model]}, "dataset": data, "device": "cpu"}
    experiment = Experiment.load({**tree, "training": {"train_batch_size": 2048, "learning_rate": 1e-3}})
    split = load_split(data, split=TASKS[model])
    learner = experiment.build(split.train)
    if work == "evaluation":
        learner.eval()
        seen = seen_before(split)
        seconds = best_seconds(lambda: measure(ranked(learner.index(), seen, split.test, model), METRICS))
        return Cost(seconds, peak_mib() - before)
    training = experiment.training
    state = TrainingState.begin(learner, training.optimizer_for, seed=0, scale_losses=False)
    sampler = learner.sampler()
    seconds = best_seconds(lambda: run_epoch(learner, training, state, sampler, lambda batches, total, title: batches))
    return Cost(seconds, peak_mib() - before)


def compared(model: str, data: str, rounds: int, pool: Any) -> Iterator[Row]:
    """The rows of one model on one data set; the sides alternate, and the cheapest of each counts."""

    def best(side: Callable[..., Cost], *arguments: Any) -> Cost:
        return pool.apply(side, (model, data, *arguments))

    def least(costs: list[Cost]) -> Cost:
        return min(costs, key=lambda cost: cost.cpu_seconds)

    name = NAMES[model]
    slow, fast = [], []
    for _ in range(rounds):
        slow.append(best(theirs, "epoch", None))
        fast.append(best(ours, "epoch"))
    yield Row(f"{name}, epoch", data, "2048", least(slow), least(fast), 4 if model == "sasrec" else 3)
    sizes = (None, *OTHERS[model])
    found: dict[int | None, list[Cost]] = {size: [] for size in sizes}
    mine = []
    for _ in range(rounds):
        for size in sizes:
            found[size].append(best(theirs, "evaluation", size))
        mine.append(best(ours, "evaluation"))
    size = min(sizes, key=lambda size: least(found[size]).cpu_seconds)
    default = f"{DEFAULT}, the default"
    yield Row(f"{name}, evaluation", data, default, least(found[None]), least(mine), 10)
    label = f"{size} users" if size else default
    yield Row(f"{name}, evaluation at its best", data, label, least(found[size]), least(mine), 2)


def publish_rows(rows: list[Row], out: Path, note: str = NOTE) -> None:
    """Print the table, and write it to `out` as JSON and Markdown."""
    publish("recbole", [Measured("Beside RecBole", COLUMNS, [row.values for row in rows])], note, out)
    tree = read(out / "speed_recbole.json")
    document = Document("Beside RecBole 1.2.1", (__doc__ or "").strip(), [Section("Results", list(parts(tree)))])
    write_atomically(out / "speed_recbole.md", markdown(document).encode())


def main(
    data: Annotated[str, typer.Option(help="comma-separated data sets")] = ",".join(DATA),
    models: Annotated[str, typer.Option(help="comma-separated: lightgcn, sasrec")] = ",".join(NAMES),
    rounds: Annotated[int, typer.Option(min=1, help="how often the sides alternate")] = 2,
    out: Annotated[Path, typer.Option(help="the folder of the results")] = Path("benchmarks/results"),
) -> None:
    """LightGCN and SASRec beside RecBole's: CPU seconds of one thread, and peak memory."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    rows: list[Row] = []
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for place in data.split(","):
            for model in models.split(","):
                for row in compared(model, place, rounds, pool):
                    typer.echo(row)
                    rows.append(row)
    publish_rows(rows, out)
