"""What a training of the `metapath` table leaves behind: one JSON record per row and seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.metapath import RULES, Row
from benchmarks.record import read_as
from graphcl.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Record:
    """One training, judged at the epochs that three rules name."""

    row: str
    seed: int
    identity: dict[str, Any]
    """All of the row that decides what a seed gives."""
    epochs: int
    prepare_cpu_seconds: float
    train_cpu_seconds: float
    """Of all sessions together."""
    seconds: float = 0.0
    peak_memory_mib: int
    rules: dict[str, dict[str, float]]
    """Rule -> its epoch, and measure -> percent."""
    curve: list[dict[str, float]]
    """A record for each look at validation nodes."""
    environment: dict[str, Any] = field(default_factory=dict)
    """Commit, versions, hardware; older records do not say."""
    data: str = ""
    """Digest of the graph in its file; older records do not say."""

    def __post_init__(self) -> None:
        if set(self.rules) != set(RULES) or any("epoch" not in scores for scores in self.rules.values()):
            raise InputError(f"rules: must give an epoch and scores for each of {', '.join(RULES)}")


Made = Sequence[tuple[Row, Sequence[Record]]]
"""Every row with its records."""


def path_of(folder: Path, row: str, seed: int) -> Path:
    """Where a record lies in the folder of records."""
    return folder / f"{row}-{seed}.json"


def fitting(row: Row, path: Path) -> Record:
    """The record in a file, if it was made as the row says now.

    Raises:
        InputError: it is damaged, or of another row, seed, configuration or graph.
    """
    record = read_as(Record, path)
    if (record.row, f"{record.row}-{record.seed}") != (row.name, path.stem):
        raise InputError(f"{path}: is the record of {record.row}, seed {record.seed}; put it back")
    if not row.made(record.identity):
        raise InputError(
            f"{path}: was made with another configuration than the row has now; "
            f"run it again: python -m benchmarks run metapath --rows {row.name}"
        )
    row.refuse_other_data(record.data, str(path))
    return record


def records_of(folder: Path, rows: Sequence[Row]) -> dict[str, list[Record]]:
    """The records of every row, by seed.

    Raises:
        InputError: a record is damaged, does not fit its row or belongs to none, or records of one graph were made from
            different files; all such records are named.
    """
    found: dict[str, list[Record]] = {}
    known = [row.name for row in rows]
    problems = [
        f"{path}: no row of the table is called {path.stem.rpartition('-')[0]!r}; remove the record"
        for path in sorted(folder.glob("*.json"))
        if path.stem.rpartition("-")[0] not in known
    ]
    for row in rows:
        paths = [path for path in folder.glob(f"{row.name}-*.json") if seed_of(path, row).isdigit()]
        found[row.name] = []
        for path in sorted(paths, key=lambda path: int(seed_of(path, row))):
            try:
                found[row.name].append(fitting(row, path))
            except InputError as error:
                problems.append(str(error))
    problems += other_data(rows, found)
    if problems:
        raise InputError("\n".join(problems))
    return found


def seed_of(path: Path, row: Row) -> str:
    """What stands behind the row's name."""
    return path.stem.removeprefix(f"{row.name}-")


def other_data(rows: Sequence[Row], found: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    """A sentence for each graph whose records were made from different files."""
    files: dict[str, dict[str, str]] = {}
    for row in rows:
        graph = row.settings.graph
        for record in found[row.name]:
            if record.data:
                files.setdefault(f"{graph.path} {graph.positives}", {})[record.data] = f"{row.name}-{record.seed}"
    for graph_name, cells in files.items():
        if len(cells) > 1:
            yield f"table metapath: {', '.join(cells.values())} were made from different files of {graph_name.strip()}"
