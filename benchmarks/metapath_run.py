"""Run the `metapath` table: every row and seed that has no record yet, each in a process of its own."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.lock import locked
from benchmarks.metapath import Row
from benchmarks.process import last_line, run_module
from graphcl.errors import InputError
from recsys.config import suggest

NAME = "metapath"
Say = Callable[[str], None]


def load_rows(root: Path, wanted: Sequence[str] = ()) -> list[Row]:
    """The rows that are named, or all, in the order of their titles.

    Raises:
        InputError: there is no such row.
    """
    paths = {path.stem: path for path in (root / "configs" / NAME).glob("*.yaml")}
    for name in wanted:
        if name not in paths:
            raise InputError(f"table {NAME}: has no row {name!r}{suggest(name, paths)}")
    return sorted((Row.load(paths[name]) for name in wanted or paths), key=lambda row: row.settings.title)


def record_of(root: Path, row: Row, seed: int) -> dict[str, Any] | None:
    """A record that was made as the row says now; None where there is none."""
    path = root / "results" / NAME / f"{row.name}-{seed}.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return None
    return record if row.made(record) else None


def records_of(root: Path, row: Row) -> Iterator[dict[str, Any]]:
    """The records of all seeds that there are."""
    for path in sorted((root / "results" / NAME).glob(f"{row.name}-*.json")):
        seed = path.stem.removeprefix(f"{row.name}-")
        record = record_of(root, row, int(seed)) if seed.isdigit() else None
        if record is not None:
            yield record


def run(
    root: Path, wanted: Sequence[str] = (), seeds: int | None = None, *, device: str = "auto", jobs: int = 1, say: Say
) -> list[tuple[str, int]]:
    """Run what is missing, all rows with the first seed before any with the second; returns the cells that failed.

    root: the folder of `configs`, `results` and `runs`. seeds: per row, in place of what each row says.

    Raises:
        InputError: another process runs this table, or a row is unknown.
    """
    rows = load_rows(root, wanted)
    (root / "results" / NAME).mkdir(parents=True, exist_ok=True)
    with locked(root / "runs" / NAME / ".lock", f"table {NAME}") as lock:
        counts = {row.name: seeds or row.settings.seeds for row in rows}
        cells = [(row, seed) for seed in range(max(counts.values())) for row in rows if seed < counts[row.name]]
        missing = [(row, seed) for row, seed in cells if record_of(root, row, seed) is None]
        say(f"{len(cells) - len(missing)} of {len(cells)} cells have their record")
        with ThreadPoolExecutor(jobs) as pool:
            codes = list(pool.map(lambda cell: start(root, *cell, device=device, lock=lock, say=say), missing))
    return [(row.name, seed) for (row, seed), code in zip(missing, codes, strict=True) if code]


def start(root: Path, row: Row, seed: int, *, device: str, lock: int, say: Say) -> int:
    """Run one cell in its own process, which holds the table's lock with us; returns its exit status."""
    config, out = root / "configs" / NAME / f"{row.name}.yaml", root / "results" / NAME
    log = root / "runs" / NAME / f"{row.name}-{seed}.log"
    arguments = ["benchmarks.metapath", str(config.resolve()), "--seeds", str(seed)]
    arguments += ["--out", str(out.resolve()), "--device", device]
    say(f"{row.name}, seed {seed}: started")
    code = run_module(arguments, log, lock, mode="w")
    record = None if code else record_of(root, row, seed)
    if record is None:
        say(f"{row.name}, seed {seed}: failed with status {code}: {last_line(log)} ({log})")
        return code or 1
    scores = record["rules"]["last"]
    macro = ", ".join(f"{value:.2f}" for name, value in scores.items() if name.startswith("macro_f1@"))
    say(f"{row.name}, seed {seed}: Macro-F1 {macro}, NMI {scores['nmi']:.1f} ({record['train_cpu_seconds']:.0f} CPU-s)")
    return 0
