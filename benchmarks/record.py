"""What a cell leaves behind: one JSON record, and its values per user in an npz beside it."""

import io
import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from benchmarks.table import Board
from graphcl.errors import InputError
from graphcl.training.checkpoint import write_atomically
from recsys.config import ConfigError, build, dump
from recsys.experiment import Experiment

log = logging.getLogger(__name__)

T = TypeVar("T")
MEND = "restore it, or delete it and run the cell again"
TOLERANCE = 1e-5
"""A mean and its values per user, which are kept in float32, agree to this."""


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
    """Write the values per user, then the record: where there is a record, it is whole."""
    path = path_of(board, record.row, record.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
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
        InputError: it is not a whole record.
    """
    return read_as(Record, path)


def read_as(kind: type[T], path: Path) -> T:
    """What a file holds, as a record of that kind.

    Raises:
        InputError: it is not a whole one.
    """
    try:
        tree = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is no readable record ({error}); {MEND}") from error
    try:
        record: T = build(kind, tree, path.name)
    except ConfigError as error:
        raise InputError(f"{path}: is a damaged record ({str(error).splitlines()[0]}); {MEND}") from error
    return record


def check(board: Board, record: Record, path: Path) -> Iterator[str]:
    """What makes a record unfit to stand in the table as it is now defined."""
    expected = f"{record.row}-{record.seed}"
    if (record.table, path.stem) != (board.name, expected):
        yield f"{path}: is the record of {record.table}/{expected}, not of {board.name}/{path.stem}; put it back"
    elif board.table.digest is not None and record.split != board.table.digest:
        yield f"{path}: was made on the split {record.split}, the table is on {board.table.digest}; remove the record"
    elif record.row not in board.table.trained:
        yield f"{path}: its row {record.row!r} is not in the table any more; remove the record"
    elif not same_configuration(board, record):
        again = f"run it again: python -m benchmarks run {board.name} --rows {record.row}"
        yield f"{path}: was made with another configuration than the table has now; {again}"
    elif missing := set(board.table.masking) - set(record.test):
        yield f"{path}: lacks the masking rule {', '.join(sorted(missing))}; delete it and run the cell again"
    else:
        yield from incomplete(board, record, path)


def incomplete(board: Board, record: Record, path: Path) -> Iterator[str]:
    """What a record lacks, or says otherwise than the values per user beside it."""
    if not {"machine", "packages", "python"} <= set(record.environment):
        yield f"{path}: does not say where it was made (environment); {MEND}"
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
            if values is not None and abs(float(values.mean()) - record.test[rule][metric]) > TOLERANCE:
                yield (
                    f"{path}: says {metric} {record.test[rule][metric]:.4f} ({rule}), the users in "
                    f"{path.with_suffix('.npz').name} have {float(values.mean()):.4f}; {MEND}"
                )
                return


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
    splits = {record.split for record in records.values()}
    if len(splits) > 1:
        problems.append(f"table {board.name}: its records are of {len(splits)} splits, {', '.join(sorted(splits))}")
    if problems:
        raise InputError("\n".join(problems))
    commits = {record.commit for record in records.values()}
    if len(commits) > 1:
        log.warning("table %s: its records were made by %d commits; the report names each", board.name, len(commits))
    return records


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
