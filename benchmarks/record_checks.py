"""Whether records are fit to stand in a table: whole, of its data and configurations, and true to their users."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.board import Board
from benchmarks.record import MEND, DamagedError, Record, has, path_of, per_user, read
from graphcl.errors import InputError
from recsys.evaluation.metrics import parse
from recsys.evaluation.slices import QUARTERS, THIRDS
from recsys.experiment import Experiment

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

TOLERANCE = 1e-5
"""A mean and its values per user, which are kept in float32, agree to this."""

MACHINE = {"system", "cores", "threads", "gpu"}
"""What a record says of the machine that it was made on."""


def refuse_other_split(board: Board, record: Record, path: Path) -> None:
    """Raise `InputError` where a record is not of the table's data."""
    if board.table.digest is not None and record.split != board.table.digest:
        raise InputError(
            f"{path}: was made on the split {record.split}, the table is on {board.table.digest}; remove the record, "
            f"or mend the table's digest"
        )


def check(board: Board, record: Record, path: Path) -> Iterator[str]:
    """What makes a record unfit to stand in the table as it is now defined."""
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
        yield from incomplete(board, record, path)


def incomplete(board: Board, record: Record, path: Path) -> Iterator[str]:
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
            except DamagedError as error:
                yield str(error)
                return
            if problem := contradiction(record, rule, metric, values, path.with_suffix(".npz").name):
                yield f"{path}: {problem}; {MEND}"
                return


def contradiction(record: Record, rule: str, metric: str, values: "pd.Series[float]", source: str) -> str:
    """What values per user say otherwise than the record that they are of; empty if nothing."""
    if len(values) != record.users:
        return f"says {record.users} users, {source} has {len(values)}"
    if not values.between(0, 1).all():
        return f"the users in {source} have {metric} ({rule}) below 0 or above 1"
    told, mean = record.test[rule][metric], float(values.mean())
    agree = abs(mean - told) <= TOLERANCE
    return "" if agree else f"says {metric} {told:.4f} ({rule}), the users in {source} have {mean:.4f}"


def damages(board: Board, record: Record) -> Iterator[str]:
    """Nested parts of a record that are not what reports read."""
    machine = record.environment.get("machine")
    told = has(record.environment.get("packages")) and "python" in record.environment
    if not (
        told and isinstance(machine, Mapping) and machine.keys() >= MACHINE and isinstance(machine["gpu"], str | None)
    ):
        yield "does not say where it was made (environment)"
    best, last = (record.outcome.get(name) for name in ("best_epoch", "last_epoch"))
    if not (isinstance(best, int) and isinstance(last, int) and 0 <= best <= last):
        yield "does not say which epoch was best, and which last (outcome)"
    elif board.draws(record.row) and [epoch.get("epoch") for epoch in record.curve] != list(range(last + 1)):
        yield f"does not have each epoch from 0 to {last} once (curve)"
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
    """Whether a part of a record is a mapping of finite numbers."""
    return isinstance(part, Mapping) and all(isinstance(v, int | float) and math.isfinite(v) for v in part.values())


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
    problems += other_splits(board, records.values())
    if problems:
        raise InputError("\n".join(problems))
    commits = {record.commit for record in records.values()}
    if len(commits) > 1:
        log.warning("table %s: its records were made by %d commits; the report names each", board.name, len(commits))
    if dirty := [path_of(board, *cell).name for cell, record in records.items() if "-dirty" in record.commit]:
        log.warning("table %s: no commit has the code of %s; run them again", board.name, ", ".join(dirty))
    return records


def other_splits(board: Board, found: Iterable[Record]) -> Iterator[str]:
    """What is wrong where a table that names no split has records of several."""
    splits: dict[str, list[str]] = {}
    for record in found:
        splits.setdefault(record.split, []).append(path_of(board, record.row, record.seed).name)
    if len(splits) > 1:
        told = "; ".join(f"{split}: {', '.join(names)}" for split, names in sorted(splits.items()))
        yield (
            f"table {board.name}: its records are of {len(splits)} splits ({told}); write the digest of one "
            f"into {board.home.table(board.name)}, and remove what is of another"
        )


def refuse_second_split(board: Board, cell: tuple[str, int] | None = None, digest: str = "") -> None:
    """Keep the records of a table that names no split to one: those that can be read, whether they fit it or not.

    cell, digest: the cell that is to have a new record, and the split of the data at hand.

    Raises:
        InputError: they are of several splits, or of another than the data at hand.
    """
    if board.table.digest is not None:
        return
    paths = sorted(board.home.results(board.name).glob("*.json"))
    found = list(readable(path for path in paths if cell is None or path != path_of(board, *cell)))
    if problem := next(other_splits(board, found), ""):
        raise InputError(problem)
    if found and cell is not None and found[0].split != digest:
        raise InputError(
            f"table {board.name}: its records are of the split {found[0].split}, the data here is {digest}; "
            f"take the data and the versions that they were made with, or remove them"
        )


def readable(paths: Iterable[Path]) -> Iterator[Record]:
    """Of these records the undamaged ones."""
    for path in paths:
        with suppress(DamagedError):
            yield read(path)
