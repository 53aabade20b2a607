"""What a cell leaves behind: one JSON record, and its values per user in an npz beside it."""

import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from benchmarks.aside import set_aside
from benchmarks.board import Board
from graphcl.errors import InputError
from graphcl.ranges import Count, Rate, Weight, Whole
from graphcl.training.checkpoint import make_folder, write_atomically
from recsys.config import ConfigError, build, dump

T = TypeVar("T")
MEND = "restore it, or delete it and run the cell again"


class DamagedError(InputError):
    """A file is no whole record."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a cell cost, all its sessions together."""

    wall_seconds: Weight
    cpu_seconds: Weight
    peak_memory_mib: Weight
    """The largest resident size of the process."""
    gpu_memory_mib: Weight | None = None
    energy_joules: Weight | None = None
    """Of the whole processor package while the cell ran, whatever else ran; None where the system does not tell."""
    sessions: Whole = 1
    """How often it was started; more than one if it was interrupted."""
    commits: tuple[str, ...] = ()
    """The code of each session, where that changed; older records do not say."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One cell: a row trained with one seed."""

    table: str
    row: str
    seed: Whole
    split: str
    """Of the data."""
    protocol: dict[str, str]
    """The data's history in words."""
    users: Count
    """Users of the test part."""
    config: dict[str, Any]
    test: dict[str, dict[str, Rate]]
    """Masking rule -> metric -> mean over users."""
    slices: dict[str, dict[str, dict[str, Weight]]] = field(default_factory=dict)
    """Masking rule -> slice -> metric, as `recsys.evaluation.slices` defines them; {} where they were not taken."""
    outcome: dict[str, Any]
    """Best and last epoch, the value on validation that chose, the cause of the end."""
    curve: list[dict[str, Any]]
    """A record per epoch: losses, metrics on validation, seconds."""
    parameters: Whole
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
    make_folder(path.parent)
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
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: is no readable record ({error}); {MEND}") from error
    try:
        record: T = build(kind, tree, path.name)
    except ConfigError as error:
        raise DamagedError(f"{path}: is a damaged record ({str(error).splitlines()[0]}); {MEND}") from error
    return record


def has(part: Any, *keys: str) -> bool:
    """Whether a part of a record is a mapping with these keys."""
    return isinstance(part, Mapping) and set(keys) <= set(part)


def per_user(board: Board, row: str, seed: int, rule: str, metric: str) -> "pd.Series[float]":
    """A metric by user.

    Raises:
        DamagedError: the file with these values is not here, or damaged.
    """
    path = path_of(board, row, seed).with_suffix(".npz")
    if not path.exists():
        raise DamagedError(f"{path}: is not here, so that nothing confirms what its record says; {MEND}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = pd.Series(arrays[f"{rule}/{metric}"].astype(np.float64), index=arrays["user"], name=metric)
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        EOFError,
        RuntimeError,
        BadZipFile,
        zlib.error,
    ) as error:
        raise DamagedError(f"{path}: is damaged ({error}); delete its record, too, and run the cell again") from error
    if not values.index.is_unique:
        raise DamagedError(f"{path}: names users twice; delete its record, too, and run the cell again")
    return values
