"""One cell of a table: train a row with one seed, look at the test part, write the record."""

import json
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks import record as records
from benchmarks.board import Board
from benchmarks.record import Record, Spent
from benchmarks.record_checks import damages, refuse_second_split
from benchmarks.table import Masking
from graphcl.errors import InputError
from graphcl.training.checkpoint import make_folder, write_atomically
from graphcl.training.lock import locked
from graphcl.training.state import LAST
from recsys import folder as files
from recsys.config import build
from recsys.evaluation.metrics import measure, parse, per_user
from recsys.evaluation.ranking import Ranking, rank
from recsys.evaluation.slices import slices
from recsys.run import Run
from recsys.training import train

NOTHING = Spent(wall_seconds=0, cpu_seconds=0, peak_memory_mib=0, sessions=0)
DETAILS = ("losses", "metrics", "gradient_norm")


def run_cell(board: Board, row: str, seed: int, *, device: str = "auto") -> Path:
    """Make the record of a cell; a cell that was interrupted goes on where it was. Returns the record's path.

    Raises:
        InputError: the data is another split than the table's, or another process is at this very cell.
    """
    experiment = board.experiment(row, seed, device=device)
    output = Path(experiment.settings.output)
    # Of this configuration alone: another one of the same cell has a file of its own.
    costs = output / f"spent-{experiment.digest[:12]}.json"
    with locked(output / ".lock", f"cell {row}, seed {seed}, of table {board.name}"), metered(costs) as meter:
        split = experiment.split()
        board.refuse_other_split(split.digest)
        refuse_second_split(board, (row, seed), split.digest)

        def begin(folder: Path) -> None:
            refuse_gaps(folder)
            meter.begin(folder)

        begun = any(output.glob(f"*/{files.CONFIG}"))
        run = train(experiment, resume=begun, split=split, log=meter.tick, started=begin)
        rankings = {rule: ranking(run, rule, board.table.metrics) for rule in board.table.masking}
        counts = split.train.item_counts
        environment = files.read_json(run.folder / files.ENVIRONMENT)
        environment.pop("command", None)
        record = Record(
            table=board.name,
            row=row,
            seed=seed,
            split=split.digest,
            protocol=dict(split.protocol),
            users=len(next(iter(rankings.values())).users),
            config={key: value for key, value in experiment.tree().items() if key != "output"},
            test={rule: measure(r, board.table.metrics, item_counts=counts) for rule, r in rankings.items()},
            slices={rule: slices(r, split, board.table.metrics) for rule, r in rankings.items()},
            outcome={key: run.result[key] for key in ("best_epoch", "best_value", "last_epoch", "cause")},
            curve=[brief(epoch) for epoch in files.MetricsFile(run.folder).read()],
            parameters=sum(p.numel() for p in run.model.parameters()),
            environment=environment,
            spent=meter.save(),
        )
        if problem := next(damages(board, record), ""):
            raise InputError(f"{run.folder}: its record {problem}; delete the folder and run the cell again")
        values = {str(rule): per_user(r, board.table.metrics, item_counts=counts) for rule, r in rankings.items()}
        return records.write(board, record, values)


def refuse_gaps(folder: Path) -> None:
    """Raise `InputError` where epochs of a training that goes on have no line any more: its record would lack them."""
    epochs = [line["epoch"] for line in files.MetricsFile(folder).read()]
    if epochs != list(range(len(epochs))) or (not epochs and (folder / LAST).exists()):
        raise InputError(f"{folder / files.METRICS}: has lost epochs; delete the folder and run the cell again")


def ranking(run: Run, rule: Masking, metrics: tuple[str, ...]) -> Ranking:
    """The test part ranked by a masking rule."""
    if rule != "train":
        return run.experiment.rank(run.model, run.split, "test", metrics, mask_history=rule == "history")
    k = max(parse(name)[1] for name in metrics)
    candidates = run.experiment.candidates(run.split)
    return rank(run.model.index(), run.split.train, run.split.test, k, mask_history=True, candidates=candidates)


def brief(epoch: Mapping[str, Any]) -> dict[str, Any]:
    """An epoch's record with five digits a number."""

    def shorten(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: shorten(part) for key, part in value.items()}
        return float(f"{value:.5g}") if isinstance(value, float) else value

    return {key: shorten(value) for key, value in epoch.items() if key in (*DETAILS, "epoch", "seconds")}


class Meter:
    """Adds up what a cell costs over its sessions, in a file that outlives a kill, if it is given one."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        past = files.read_json(path) if path is not None else {}
        self.past = build(Spent, past, str(path)) if past else NOTHING
        self.commits = tuple(dict.fromkeys([*self.past.commits, str(files.commit())]))
        self.started = time.perf_counter(), time.process_time(), energy()

    def begin(self, folder: Path) -> None:
        """A training begins, or goes on: what was spent on one whose folder is gone is not of this one."""
        if not (folder / LAST).exists() and not (folder / files.RESULT).exists():
            self.past, self.commits = NOTHING, (str(files.commit()),)

    def tick(self, _: Mapping[str, Any]) -> None:
        """An epoch has ended."""
        self.save()

    def save(self) -> Spent:
        """What was spent until now."""
        wall, cpu, joules = self.started
        now = energy()
        if now is not None and joules is not None and now < joules:
            now = None  # the counter began anew: nobody knows how often
        peaks = [] if self.past.gpu_memory_mib is None else [self.past.gpu_memory_mib]
        if torch.cuda.is_available():
            peaks.append(torch.cuda.max_memory_allocated() / 2**20)
        spent = Spent(
            wall_seconds=round(self.past.wall_seconds + time.perf_counter() - wall, 2),
            cpu_seconds=round(self.past.cpu_seconds + time.process_time() - cpu, 2),
            peak_memory_mib=round(max(self.past.peak_memory_mib, peak_memory()), 1),
            gpu_memory_mib=max(peaks, default=None),
            energy_joules=None if joules is None or now is None else (self.past.energy_joules or 0) + now - joules,
            sessions=self.past.sessions + 1,
            commits=self.commits,
        )
        if self.path is not None:
            write_atomically(self.path, json.dumps(asdict(spent)).encode())
        return spent


@contextmanager
def metered(path: Path) -> Iterator[Meter]:
    """A meter that is read once more at the end, whatever the end is."""
    make_folder(path.parent)
    meter = Meter(path)
    try:
        yield meter
    finally:
        meter.save()


def peak_memory() -> float:
    """The largest resident size of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def energy() -> float | None:
    """Joules counted by the processor since some start; None where the system does not let us read it."""
    try:
        zones = sorted(Path("/sys/class/powercap").glob("intel-rapl:?/energy_uj"))
        return sum(int(zone.read_text()) for zone in zones) / 1e6 if zones else None
    except OSError:
        return None
