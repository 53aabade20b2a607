"""What a training of the `metapath` table leaves behind: one JSON record per row and seed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.metapath import RULES, Row
from benchmarks.record import has, read_as
from graphcl.errors import InputError

COUNTS = (20, 40, 60)
"""Labels per class."""
MEASURES: Mapping[str, str] = {
    **{f"macro_f1@{count}": f"Macro-F1 {count}" for count in COUNTS},
    **{f"micro_f1@{count}": f"Micro-F1 {count}" for count in COUNTS},
    **{f"auc@{count}": f"AUC {count}" for count in COUNTS},
    "nmi": "NMI",
    "ari": "ARI",
}
"""As a record calls them: as the page does."""
POINT = ("epoch", "loss", "valid_macro_f1")
WEIGHTS = ("weight_mean", "weight_std", "weight_row_std")


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
    spent: dict[str, Any] = field(default_factory=dict)
    """What all sessions cost together, as `benchmarks.record.Spent` has it; older records do not say."""

    def __post_init__(self) -> None:
        if set(self.rules) != set(RULES) or any("epoch" not in scores for scores in self.rules.values()):
            raise InputError(f"rules: must give an epoch and scores for each of {', '.join(RULES)}")
        counts = [count for count in COUNTS if any(f"@{count}" in name for name in self.rules["last"])]
        measured = [name for name in MEASURES if "@" not in name or int(name.partition("@")[2]) in counts]
        for rule, scores in self.rules.items():
            if wrong := [name for name in ("epoch", *measured) if not math.isfinite(scores.get(name, math.nan))]:
                raise InputError(f"rules.{rule}: has no number for {', '.join(wrong)}")
        for point in self.curve:
            wanted = (*POINT, *WEIGHTS) if WEIGHTS[0] in point else POINT
            if wrong := [name for name in wanted if not math.isfinite(point.get(name, math.nan))]:
                raise InputError(f"curve: has a point without a number for {', '.join(wrong)}")
        machine, packages = (self.environment.get(name, {}) for name in ("machine", "packages"))
        if not has(packages) or not (machine == {} or has(machine, "system", "gpu")):
            raise InputError("environment: does not say on what machine it was made, and with what")

    @property
    def commit(self) -> str:
        """The code that it was made with; more than one where it changed between sessions."""
        return ", ".join(self.spent.get("commits", ())) or str(self.environment.get("commit", "not recorded"))


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
