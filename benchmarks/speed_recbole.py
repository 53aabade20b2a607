"""Our LightGCN and SASRec beside RecBole's own: an epoch and a full-ranking evaluation, on the very same splits.

Both sides have RecBole's default sizes (64 wide, two layers, batches of 2048), losses, metrics and masking rule; each
measurement is a process of its own with one thread. RecBole runs unchanged, except that autograd's anomaly mode, which
it leaves on by accident, is off: that favours it. Its evaluation is taken at its default batch and at the best of some.
"""

import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer

from recsys.data.catalog import load_split
from recsys.data.interactions import Interactions, Split
from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import Ranking, rank
from recsys.models.base import Index

DATA = ("ml-100k", "amazon-beauty-5core")
NAMES = {"lightgcn": "LightGCN", "sasrec": "SASRec"}
TASKS = {"lightgcn": "general", "sasrec": "sequential"}
KEYS: dict[str, dict[str, Any]] = {"lightgcn": {"n_layers": 2, "reg_weight": 1e-5}, "sasrec": {}}
"""Keys in which the models would differ by default."""
METRICS = [f"{name}@{k}" for name in ("recall", "mrr", "ndcg", "hit", "precision") for k in (10, 20)]
DEFAULT = 4096
"""RecBole's eval_batch_size: cells of users times items for general models, rows for sequential ones."""
OTHERS = {"lightgcn": (16, 64, 256, 1024), "sasrec": (64, 256, 1024)}
"""Users per batch of an evaluation, among which RecBole's best is looked for."""
BATCHES = 8
"""How much of an epoch of RecBole's SASRec is run: its padded batches are all alike, and a whole one takes minutes."""
PATIENCE = 4.0
"""CPU seconds after which a short job is no longer repeated within its process."""

Work = Literal["epoch", "evaluation"]


@dataclass(frozen=True)
class Cost:
    """Of one job in a process of its own."""

    cpu_seconds: float
    mib: float
    """Growth of the peak resident set above a process that has only imported everything."""
    check: tuple[float, ...] = ()
    """RecBole's metrics of the vectors it evaluated, and ours of the same vectors, one after the other."""


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
    def cells(self) -> tuple[str, ...]:
        """As a row of the table."""
        times = (f"{cost.cpu_seconds:.3g}" for cost in (self.recbole, self.ours))
        memory = (f"{cost.mib:.0f}" for cost in (self.recbole, self.ours))
        ratio = self.recbole.cpu_seconds / self.ours.cpu_seconds
        return (self.job, self.data, self.batch, *times, f"{ratio:.1f}x", f"{self.goal:g}x", *memory)


def peak_mib() -> float:
    """The largest resident set of this program so far; unlike `getrusage`, without that of the program before it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def best_seconds(work: Callable[[], object]) -> float:
    """The least CPU seconds of some repetitions."""
    seconds: list[float] = []
    while not seconds or (sum(seconds) < PATIENCE and len(seconds) < 10):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


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


def seen_before(split: Split) -> Interactions:
    """What precedes the test part, sorted by user once, as RecBole's loader does before it is first read."""
    seen = split.train + split.valid
    assert seen.histories
    return seen


def ranked(index: Index, seen: Interactions, test: Interactions, model: str) -> Ranking:
    """The test part, by the rule of RecBole's models of that kind."""
    return rank(index, seen, test, 20, mask_history=TASKS[model] == "general", repeats="candidates")


def theirs(model: str, data: str, work: Work, users_per_batch: int | None) -> Cost:
    """One job done by RecBole, in an empty folder: it writes logs where it stands."""
    from recsys.integrations.recbole.compat import running

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with TemporaryDirectory() as folder, chdir(folder), running():
        import recbole.data
        import recbole.utils
        from recbole.config import Config

        before = peak_mib()
        split = load_split(data, split=TASKS[model])
        keys = atomic_files(Path(folder), split, model)
        if users_per_batch:
            keys["eval_batch_size"] = users_per_batch * (split.train.num_items + 1 if model == "lightgcn" else 1)
        config = Config(model=NAMES[model], dataset="data", config_dict=keys)
        recbole.utils.init_seed(config["seed"], config["reproducibility"])
        dataset = recbole.data.create_dataset(config)
        train, _, test = recbole.data.data_preparation(config, dataset)
        learner = recbole.utils.get_model(config["model"])(config, train.dataset)
        trainer = recbole.utils.get_trainer(config["MODEL_TYPE"], config["model"])(config, learner)
        trainer.eval_collector.data_collect(train)
        if work == "epoch":
            return Cost(their_epoch(trainer, train, model), peak_mib() - before)
        found: dict[str, float] = {}

        def evaluate() -> None:
            learner.restore_user_e = learner.restore_item_e = None  # what LightGCN remembers of the last evaluation
            found.update(trainer.evaluate(test, load_best_model=False))

        seconds = best_seconds(evaluate)
        grown = peak_mib() - before
        index = Index(*their_vectors(learner, dataset, test, split, model))
        again = measure(ranked(index, seen_before(split), split.test, model), METRICS)
        return Cost(seconds, grown, tuple(value for name in METRICS for value in (found[name], again[name])))


def atomic_files(folder: Path, split: Split, model: str) -> dict[str, Any]:
    """Write a split as RecBole reads it, and return the keys that go with it.

    General models get the three parts as they are, sequential ones every event with its place in time, which they
    divide themselves: leave-one-out, as we do.
    """
    (folder / "data").mkdir()
    keys = {
        "data_path": str(folder),
        "gpu_id": "",
        "show_progress": False,
        "state": "ERROR",
        "topk": [10, 20],
        "metric_decimal_place": 9,
        "load_col": {"inter": ["user_id", "item_id"]},
        **KEYS[model],
    }
    if TASKS[model] == "general":
        for part in ("train", "valid", "test"):
            events: Interactions = getattr(split, part)
            write_table(folder / "data" / f"data.{part}.inter", user_id=events.user, item_id=events.item)
        return keys | {"benchmark_filename": ["train", "valid", "test"]}
    rows = (split.train + split.valid + split.test).histories
    place = torch.arange(rows.values.numel())
    write_table(folder / "data" / "data.inter", user_id=rows.row, item_id=rows.values, timestamp=place)
    keys["load_col"] = {"inter": ["user_id", "item_id", "timestamp"]}
    return keys | {"train_neg_sample_args": None, "loss_type": "CE", "MAX_ITEM_LIST_LENGTH": 50}


def write_table(path: Path, **columns: torch.Tensor) -> None:
    """An atomic file."""
    head = "\t".join(f"{name}:{'float' if name == 'timestamp' else 'token'}" for name in columns)
    np.savetxt(path, torch.stack(list(columns.values()), 1).numpy(), "%d", "\t", header=head, comments="")


def their_epoch(trainer: Any, train: Any, model: str) -> float:
    """CPU seconds of an epoch; for SASRec, of the share that is run, in proportion to the samples."""
    if model == "lightgcn":
        return best_seconds(lambda: trainer._train_epoch(train, 0))
    trainer._train_epoch(islice(iter(train), 1), 0)
    count = min(BATCHES, len(train) - 1)
    part = islice(iter(train), count)
    started = time.process_time()
    trainer._train_epoch(part, 0)
    return (time.process_time() - started) * len(train.dataset) / (count * train.step)


def their_vectors(learner: Any, dataset: Any, test: Any, split: Split, model: str) -> Iterator[Any]:
    """RecBole's item vectors and the queries of its users, in our numbering."""
    numbers = {field: dataset.field2token_id[field] for field in ("item_id", "user_id")}
    item, user = (
        torch.tensor([numbers[field][str(row)] for row in range(count)])
        for field, count in (("item_id", split.train.num_items), ("user_id", split.train.num_users))
    )
    with torch.no_grad():
        if model == "lightgcn":
            users, items = learner()
        else:
            items = learner.item_embedding.weight
            users = items.new_zeros(len(numbers["user_id"]), items.shape[1])
            for events, *_ in test:
                users[events["user_id"]] = learner(events["item_id_list"], events["item_length"])
    users, items = users[user], items[item]

    def query(rows: torch.Tensor, history: Ragged) -> torch.Tensor:
        return users[rows]

    yield items
    yield query


def compared(model: str, data: str, rounds: int, pool: Any) -> Iterator[Row]:
    """The rows of one model on one data set; the sides alternate, and the cheapest of each counts."""

    def best(side: Callable[..., Cost], *arguments: Any) -> Cost:
        return pool.apply(side, (model, data, *arguments))  # type: ignore[no-any-return]

    def least(costs: list[Cost]) -> Cost:
        return min(costs, key=lambda cost: cost.cpu_seconds)

    name = NAMES[model]
    pairs = [(best(theirs, "epoch", None), best(ours, "epoch")) for _ in range(rounds)]
    yield Row(
        f"{name}, epoch",
        data,
        "2048",
        *(least(list(side)) for side in zip(*pairs, strict=True)),
        3 + (model == "sasrec"),
    )
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


def markdown(rows: list[dict[str, Any]], machine: str) -> str:
    """The page of the results."""
    head = ("job", "data", "RecBole's batch", "RecBole s", "ours s", "ratio", "goal", "RecBole MiB", "our MiB")
    lines = [head, ("---",) * 3 + ("--:",) * 6]
    lines += [Row(**{**row, **{side: Cost(**row[side]) for side in ("recbole", "ours")}}).cells for row in rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    about = f"{(__doc__ or '').strip()}\n\nCPU seconds; peak memory above that of the imports. {machine}"
    return f"# Beside RecBole 1.2.1\n\n{about}\n\n{table}\n"


def main(
    data: Annotated[str, typer.Option(help="comma-separated data sets")] = ",".join(DATA),
    models: Annotated[str, typer.Option(help="comma-separated: lightgcn, sasrec")] = ",".join(NAMES),
    rounds: Annotated[int, typer.Option(min=1, help="how often the sides alternate")] = 2,
    out: Annotated[Path, typer.Option(help="record; the page goes beside it")] = Path(
        "benchmarks/results/speed_recbole.json"
    ),
) -> None:
    """LightGCN and SASRec beside RecBole's: CPU seconds of one thread, and peak memory."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    found: list[dict[str, Any]] = json.loads(out.read_text())["rows"] if out.exists() else []
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}."
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for place in data.split(","):
            for model in models.split(","):
                for row in compared(model, place, rounds, pool):
                    typer.echo("  ".join(row.cells))
                    found = [old for old in found if (old["job"], old["data"]) != (row.job, row.data)] + [asdict(row)]
                    out.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n")
                    out.with_suffix(".md").write_text(markdown(found, machine))
