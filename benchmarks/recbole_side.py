"""RecBole's side of `speed_recbole`, and what both sides share: sizes, metrics, the clock."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch

from recsys.data.catalog import load_split
from recsys.data.interactions import Interactions, Split
from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import Ranking, rank
from recsys.models.base import Index

NAMES = {"lightgcn": "LightGCN", "sasrec": "SASRec"}
TASKS = {"lightgcn": "general", "sasrec": "sequential"}
KEYS: dict[str, dict[str, Any]] = {"lightgcn": {"n_layers": 2, "reg_weight": 1e-5}, "sasrec": {}}
"""Keys in which the models would differ by default."""
METRICS = [f"{name}@{k}" for name in ("recall", "mrr", "ndcg", "hit", "precision") for k in (10, 20)]
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
        for name, value in again.items():
            assert abs(found[name] - value) < 1e-6, f"{name}: RecBole says {found[name]}, we say {value}"
        return Cost(seconds, grown)


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
