"""What a cell leaves behind: one JSON record, and its values per user in an npz beside it."""

import io
import json
import logging
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from benchmarks.aside import set_aside
from benchmarks.table import Board
from graphcl.errors import InputError
from graphcl.training.checkpoint import write_atomically
from recsys.config import ConfigError, build, dump
from recsys.evaluation.metrics import parse
from recsys.evaluation.slices import QUARTERS, THIRDS
from recsys.experiment import Experiment

log = logging.getLogger(__name__)

T = TypeVar("T")
MEND = "restore it, or delete it and run the cell again"
TOLERANCE = 1e-5
"""A mean and its values per user, which are kept in float32, agree to this."""


class DamagedError(InputError):
    """A file is no whole record."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a cell cost, all its sessions together."""

    wall_seconds: float
    cpu_seconds: float
    peak_memory_mib: float
    """The largest resident size of the process."""
    gpu_memory_mib: float | None = None
    energy_joules: float | None = None
    """Of the whole processor package while the cell ran, whatever else ran; None where the system does not tell."""
    sessions: int = 1
    """How often it was started; more than one if it was interrupted."""
    commits: tuple[str, ...] = ()
    """The code of each session, where that changed; older records do not say."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One cell: a row trained with one seed."""

    table: str
    row: str
    seed: int
    split: str
    """Of the data."""
    protocol: dict[str, str]
    """The data's history in words."""
    users: int
    """Users of the test part."""
    config: dict[str, Any]
    test: dict[str, dict[str, float]]
    """Masking rule -> metric -> mean over users."""
    slices: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """Masking rule -> slice -> metric, as `recsys.evaluation.slices` defines them; {} where they were not taken."""
    outcome: dict[str, Any]
    """Best and last epoch, the value on validation that chose, the cause of the end."""
    curve: list[dict[str, Any]]
    """A record per epoch: losses, metrics on validation, seconds."""
    parameters: int
    environment: dict[str, Any]
    """Commit, versions, hardware, of the first session."""
    spent: Spent

    @property
    def commit(self) -> str:
        """The code that it was made with; more than one where it changed between sessions."""
        return ", ".join(self.spent.commits) or str(self.environment.get("commit"))


def path_of(board: Board, row: str, seed: int) -> Path:
    """Where the record of a cell lies."""
    return board.home.results(board.name) / f"{row}-{seed}.json"


def write(board: Board, record: Record, per_user: Mapping[str, pd.DataFrame]) -> Path:
    """Write the values per user, then the record: where there is a record, it is whole. An older one is set aside."""
    path = path_of(board, record.row, record.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        set_aside([path, path.with_suffix(".npz")], board.home.superseded(board.name))
    arrays = {"user": next(iter(per_user.values())).index.to_numpy(np.int32)}
    for rule, frame in per_user.items():
        arrays |= {f"{rule}/{name}": frame[name].to_numpy(np.float32) for name in frame.columns}
    blob = io.BytesIO()
    np.savez_compressed(blob, **arrays)  # type: ignore[arg-type]
    write_atomically(path.with_suffix(".npz"), blob.getvalue())
    write_atomically(path, (json.dumps(dump(record), indent=1) + "\n").encode())
    return path


def read(path: Path) -> Record:
    """The record in a file.

    Raises:
        DamagedError: it is not a whole record.
    """
    return read_as(Record, path)


def read_as(kind: type[T], path: Path) -> T:
    """What a file holds, as a record of that kind.

    Raises:
        DamagedError: it is not a whole one.
    """
    try:
        tree = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path}: is no readable record ({error}); {MEND}") from error
    try:
        record: T = build(kind, tree, path.name)
    except ConfigError as error:
        raise DamagedError(f"{path}: is a damaged record ({str(error).splitlines()[0]}); {MEND}") from error
    return record


def refuse_other_split(board: Board, record: Record, path: Path) -> None:
    """Raise `InputError` where a record is not of the table's data."""
    if board.table.digest is not None and record.split != board.table.digest:
        raise InputError(
            f"{path}: was made on the split {record.split}, the table is on {board.table.digest}; remove the record, "
            f"or mend the table's digest"
        )


def check(board: Board, record: Record, path: Path, *, needs_users: bool = False) -> Iterator[str]:
    """What makes a record unfit to stand in the table as it is now defined; whether without its values per user."""
    try:
        refuse_other_split(board, record, path)
    except InputError as error:
        yield str(error)
        return
    expected = f"{record.row}-{record.seed}"
    if (record.table, path.stem) != (board.name, expected):
        yield f"{path}: is the record of {record.table}/{expected}, not of {board.name}/{path.stem}; put it back"
    elif record.row not in board.table.trained:
        yield f"{path}: its row {record.row!r} is not in the table any more; remove the record"
    elif not same_configuration(board, record):
        again = f"run it again: python -m benchmarks run {board.name} --rows {record.row}"
        yield f"{path}: was made with another configuration than the table has now; {again}"
    elif missing := set(board.table.masking) - set(record.test):
        yield f"{path}: lacks the masking rule {', '.join(sorted(missing))}; delete it and run the cell again"
    else:
        yield from incomplete(board, record, path, needs_users=needs_users)


def incomplete(board: Board, record: Record, path: Path, *, needs_users: bool) -> Iterator[str]:
    """What a record lacks, or says otherwise than the values per user beside it."""
    yield from (f"{path}: {problem}; {MEND}" for problem in damages(board, record))
    for rule in board.table.masking:
        if missing := set(board.table.metrics) - set(record.test[rule]):
            yield f"{path}: lacks {', '.join(sorted(missing))} by the masking rule {rule}; {MEND}"
            return
    for rule in board.table.masking:
        for metric in board.table.metrics:
            try:
                values = per_user(board, record.row, record.seed, rule, metric)
            except InputError as error:
                yield str(error)
                return
            if not math.isfinite(record.test[rule][metric]):
                yield f"{path}: {metric} ({rule}) is {record.test[rule][metric]}; {MEND}"
                return
            if values is None and needs_users:
                yield f"{path}: the values of its users, {path.with_suffix('.npz').name}, are not here; {MEND}"
                return
            if values is not None and len(values) != record.users:
                yield f"{path}: says {record.users} users, {path.with_suffix('.npz').name} has {len(values)}; {MEND}"
                return
            if values is not None and not abs(float(values.mean()) - record.test[rule][metric]) <= TOLERANCE:
                yield (
                    f"{path}: says {metric} {record.test[rule][metric]:.4f} ({rule}), the users in "
                    f"{path.with_suffix('.npz').name} have {float(values.mean()):.4f}; {MEND}"
                )
                return


def damages(board: Board, record: Record) -> Iterator[str]:
    """Nested parts of a record that are not what reports read."""
    machine = record.environment.get("machine")
    packages = record.environment.get("packages")
    told = has(packages) and "python" in record.environment
    if not told or not has(machine, "system", "cores", "threads", "gpu"):
        yield "does not say where it was made (environment)"
    if not all(isinstance(record.outcome.get(name), int) for name in ("best_epoch", "last_epoch")):
        yield "does not say which epoch was best, and which last (outcome)"
    if not all(has(epoch, "epoch") and isinstance(epoch["epoch"], int) for epoch in record.curve):
        yield "has epochs without a number (curve)"
    if not all(numeric(epoch.get("metrics", {})) for epoch in record.curve):
        yield "has epochs whose metrics are no numbers (curve)"
    monitor = board.table.monitor
    wanted: dict[str, tuple[str, ...]] = dict.fromkeys(QUARTERS, ("users", "fewest", "most", monitor))
    wanted |= dict.fromkeys(THIRDS, ("items", "truth", f"shown@{parse(monitor)[1]}"))
    for rule, slices in record.slices.items():
        thirds = THIRDS if slices.keys() & set(THIRDS) else ()
        for name in sorted(slices.keys() & wanted.keys() | set(thirds)):
            if not has(slices.get(name), *wanted[name]):
                yield f"lacks one of {', '.join(wanted[name])} of the slice {name} ({rule})"


def numeric(part: Any) -> bool:
    """Whether a part of a record is a mapping of numbers."""
    return isinstance(part, Mapping) and all(isinstance(value, int | float) for value in part.values())


def has(part: Any, *keys: str) -> bool:
    """Whether a part of a record is a mapping with these keys."""
    return isinstance(part, Mapping) and set(keys) <= set(part)


def same_configuration(board: Board, record: Record) -> bool:
    """Whether the row still has the record's configuration; keys that came later count with their defaults."""
    try:
        then = Experiment.load({**record.config, "device": "auto"})
    except InputError:
        return False
    return then.digest == board.experiment(record.row, record.seed).digest


def load(board: Board) -> dict[tuple[str, int], Record]:
    """All records of a table, by row and seed.

    Raises:
        InputError: a record is damaged, or of another split or configuration; all such records are named.
    """
    records: dict[tuple[str, int], Record] = {}
    problems: list[str] = []
    for path in sorted(board.home.results(board.name).glob("*.json")):
        try:
            record = read(path)
        except InputError as error:
            problems.append(str(error))
            continue
        problems += (wrong := list(check(board, record, path)))
        if not wrong:
            records[record.row, record.seed] = record
    problems += other_splits(board, records)
    if problems:
        raise InputError("\n".join(problems))
    commits = {record.commit for record in records.values()}
    if len(commits) > 1:
        log.warning("table %s: its records were made by %d commits; the report names each", board.name, len(commits))
    if dirty := [path_of(board, *cell).name for cell, record in records.items() if "-dirty" in record.commit]:
        log.warning("table %s: no commit has the code of %s; run them again", board.name, ", ".join(dirty))
    return records


def other_splits(board: Board, records: Mapping[tuple[str, int], Record]) -> Iterator[str]:
    """What is wrong where a table that names no split has records of several."""
    splits: dict[str, list[str]] = {}
    for (row, seed), record in records.items():
        splits.setdefault(record.split, []).append(path_of(board, row, seed).name)
    if len(splits) > 1:
        told = "; ".join(f"{split}: {', '.join(names)}" for split, names in sorted(splits.items()))
        yield (
            f"table {board.name}: its records are of {len(splits)} splits ({told}); write the digest of one "
            f"into {board.home.table(board.name)}, and remove what is of another"
        )


def per_user(board: Board, row: str, seed: int, rule: str, metric: str) -> "pd.Series[float] | None":
    """A metric by user; None where the file with these values is not here.

    Raises:
        InputError: the file is damaged.
    """
    path = path_of(board, row, seed).with_suffix(".npz")
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return pd.Series(arrays[f"{rule}/{metric}"].astype(np.float64), index=arrays["user"], name=metric)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: is damaged ({error}); delete its record, too, and run the cell again") from error
