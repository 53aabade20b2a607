"""Run a table: every cell that has no record yet, each in a process of its own."""

from collections.abc import Callable, Sequence

from benchmarks import record as records
from benchmarks.process import Processes, in_parallel, last_line
from benchmarks.table import Board
from graphcl.training.lock import locked

Cell = tuple[str, int]
Say = Callable[[str], None]


def run_table(
    board: Board, rows: Sequence[str], seeds: int, *, device: str = "auto", jobs: int = 1, say: Say = lambda _: None
) -> list[Cell]:
    """Run what is missing, all rows with the first seed before any with the second; returns the cells that failed.

    A record that does not fit the table any more is moved to the table's run folder once its new one is made.

    Raises:
        InputError: another runner is at this table, a row is unknown, or a record is of another split.
    """
    chosen = board.choose(rows)
    with locked(board.home.runs(board.name) / ".lock", f"table {board.name}") as lock:
        wanted = [(row, seed) for seed in range(seeds) for row in chosen if seed in board.seeds(row, seeds)]
        missing = [cell for cell in wanted if not is_done(board, *cell, say)]
        say(f"{len(wanted) - len(missing)} of {len(wanted)} cells have their record")
        codes = in_parallel(lambda cell, cells: start(board, cell, device, lock, say, cells), missing, jobs)
    return [cell for cell, code in zip(missing, codes, strict=True) if code]


def is_done(board: Board, row: str, seed: int, say: Say) -> bool:
    """Whether a cell has a record that fits; the cell that makes a new one moves one that does not."""
    path = records.path_of(board, row, seed)
    if not path.exists():
        return False
    try:
        record = records.read(path)
        records.refuse_other_split(board, record, path)
        problems = list(records.check(board, record, path, needs_users=True))
    except records.DamagedError as error:
        problems = [str(error)]
    if problems:
        say(f"{problems[0]}\n  it is made again; this one will be kept in {records.aside(board)}")
    return not problems


def start(board: Board, cell: Cell, device: str, lock: int, say: Say, cells: Processes) -> int:
    """Run one cell in its own process, which holds the table's lock with us; returns its exit status."""
    row, seed = cell
    folder = board.home.runs(board.name) / f"{row}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    arguments = ["benchmarks", "cell", board.name, row, str(seed)]
    arguments += ["--device", device, "--home", str(board.home.root)]
    say(f"{row}, seed {seed}: started")
    code = cells.run(arguments, log, lock)
    if code:
        say(f"{row}, seed {seed}: failed with status {code}: {last_line(log)} ({log})")
    else:
        made = records.read(records.path_of(board, row, seed))
        values = ", ".join(f"{name} {value:.4f}" for name, value in made.test[board.table.masking[0]].items())
        say(f"{row}, seed {seed}: {values} ({made.spent.wall_seconds:.0f} s, {made.spent.cpu_seconds:.0f} CPU-s)")
    return code
