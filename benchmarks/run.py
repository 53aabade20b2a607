"""Run a table: every cell that has no record yet, each in a process of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import record as records
from benchmarks.lock import locked
from benchmarks.process import last_line, run_module
from benchmarks.table import Board
from graphcl.errors import InputError

Cell = tuple[str, int]
Say = Callable[[str], None]


def run_table(
    board: Board, rows: Sequence[str], seeds: int, *, device: str = "auto", jobs: int = 1, say: Say = lambda _: None
) -> list[Cell]:
    """Run what is missing, all rows with the first seed before any with the second; returns the cells that failed.

    A record that does not fit the table any more is moved to the table's run folder, not lost.

    Raises:
        InputError: another runner is at this table, or a row is unknown.
    """
    chosen = board.choose(rows)
    with locked(board.home.runs(board.name) / ".lock", f"table {board.name}") as lock:
        wanted = [(row, seed) for seed in range(seeds) for row in chosen if seed in board.seeds(row, seeds)]
        missing = [cell for cell in wanted if not is_done(board, *cell, say)]
        say(f"{len(wanted) - len(missing)} of {len(wanted)} cells have their record")
        with ThreadPoolExecutor(jobs) as pool:
            codes = list(pool.map(lambda cell: start(board, cell, device, lock, say), missing))
    return [cell for cell, code in zip(missing, codes, strict=True) if code]


def is_done(board: Board, row: str, seed: int, say: Say) -> bool:
    """Whether a cell has a record that fits; one that does not is moved away."""
    path = records.path_of(board, row, seed)
    if not path.exists():
        return False
    try:
        problems = list(records.check(board, records.read(path), path))
    except InputError as error:
        problems = [str(error)]
    if problems:
        kept = superseded(board, path)
        say(f"{problems[0]}\n  kept as {kept}")
    return not problems


def superseded(board: Board, path: Path) -> Path:
    """Move a record out of the table; nothing is overwritten."""
    folder = board.home.runs(board.name) / "superseded"
    folder.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in folder.glob(f"{path.stem}.*.json"))
    for suffix in (".npz", ".json"):
        if path.with_suffix(suffix).exists():
            path.with_suffix(suffix).rename(folder / f"{path.stem}.{number}{suffix}")
    return folder / f"{path.stem}.{number}.json"


def start(board: Board, cell: Cell, device: str, lock: int, say: Say) -> int:
    """Run one cell in its own process, which holds the table's lock with us; returns its exit status."""
    row, seed = cell
    folder = board.home.runs(board.name) / f"{row}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    arguments = ["benchmarks", "cell", board.name, row, str(seed)]
    arguments += ["--device", device, "--home", str(board.home.root)]
    say(f"{row}, seed {seed}: started")
    code = run_module(arguments, log, lock)
    if code:
        say(f"{row}, seed {seed}: failed with status {code}: {last_line(log)} ({log})")
    else:
        made = records.read(records.path_of(board, row, seed))
        values = ", ".join(f"{name} {value:.4f}" for name, value in made.test[board.table.masking[0]].items())
        say(f"{row}, seed {seed}: {values} ({made.spent.wall_seconds:.0f} s, {made.spent.cpu_seconds:.0f} CPU-s)")
    return code
