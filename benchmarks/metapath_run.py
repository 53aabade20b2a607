"""Run the `metapath` table: every row and seed that has no record yet, each in a process of its own."""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.metapath import Row
from benchmarks.metapath_record import fitting, path_of
from benchmarks.process import Processes, in_parallel, last_line
from graphcl.errors import InputError, suggest
from graphcl.training.lock import locked

NAME = "metapath"
Say = Callable[[str], None]


def load_rows(root: Path, wanted: Sequence[str] = ()) -> list[Row]:
    """The rows that are named, or all, in the order of their titles.

    Raises:
        InputError: there is no such row.
    """
    paths = {path.stem: path for path in (root / "configs" / NAME).glob("*.yaml")}
    wanted = list(dict.fromkeys(wanted))
    for name in wanted:
        if name not in paths:
            raise InputError(f"table {NAME}: has no row {name!r}{suggest(name, paths)}")
    return sorted((Row.load(paths[name]) for name in wanted or paths), key=lambda row: row.settings.title)


def has_rows(root: Path) -> bool:
    """Whether the table has any row, be it readable or not."""
    return any((root / "configs" / NAME).glob("*.yaml"))


def refuse_no_rows(root: Path, rows: Sequence[Row]) -> None:
    """Raise `InputError` where the table has no row."""
    if not rows:
        raise InputError(f"table {NAME}: has no row; {root / 'configs' / NAME} holds one ROW.yaml for each")


def is_done(root: Path, row: Row, seed: int, say: Say) -> bool:
    """Whether a cell has a record that fits; the cell that makes a new one moves one that does not."""
    path = path_of(root / "results" / NAME, row.name, seed)
    if not path.exists():
        return False
    try:
        fitting(row, path)
    except InputError as error:
        say(f"{error}\n  it is made again; this one will be kept in {root / 'runs' / NAME / 'superseded'}")
        return False
    return True


def run(
    root: Path, wanted: Sequence[str] = (), seeds: int | None = None, *, device: str = "auto", jobs: int = 1, say: Say
) -> list[tuple[str, int]]:
    """Run what is missing, all rows with the first seed before any with the second; returns the cells that failed.

    root: the folder of `configs`, `results` and `runs`. seeds: per row, in place of what each row says.

    Raises:
        InputError: another process runs this table, or a row is unknown.
    """
    rows = load_rows(root, wanted)
    refuse_no_rows(root, rows)
    (root / "results" / NAME).mkdir(parents=True, exist_ok=True)
    with locked(root / "runs" / NAME / ".lock", f"table {NAME}") as lock:
        counts = {row.name: seeds or row.settings.seeds for row in rows}
        cells = [(row, seed) for seed in range(max(counts.values())) for row in rows if seed < counts[row.name]]
        missing = [(row, seed) for row, seed in cells if not is_done(root, row, seed, say)]
        say(f"{len(cells) - len(missing)} of {len(cells)} cells have their record")
        codes = in_parallel(lambda cell, cells: start(root, *cell, device, lock, say, cells), missing, jobs)
    return [(row.name, seed) for (row, seed), code in zip(missing, codes, strict=True) if code]


def start(root: Path, row: Row, seed: int, device: str, lock: int, say: Say, cells: Processes) -> int:
    """Run one cell in its own process, which holds the table's lock with us; returns its exit status."""
    config, out = root / "configs" / NAME / f"{row.name}.yaml", root / "results" / NAME
    log = root / "runs" / NAME / f"{row.name}-{seed}.log"
    arguments = ["benchmarks.metapath", str(config.resolve()), "--seeds", str(seed), "--device", device]
    arguments += ["--out", str(out.resolve()), "--work", str(log.parent.resolve())]
    say(f"{row.name}, seed {seed}: started")
    code = cells.run(arguments, log, lock)
    if code:
        say(f"{row.name}, seed {seed}: failed with status {code}: {last_line(log)} ({log})")
        return code
    record = fitting(row, path_of(out, row.name, seed))
    scores = record.rules["last"]
    macro = ", ".join(f"{value:.2f}" for name, value in scores.items() if name.startswith("macro_f1@"))
    say(f"{row.name}, seed {seed}: Macro-F1 {macro}, NMI {scores['nmi']:.1f} ({record.train_cpu_seconds:.0f} CPU-s)")
    return 0
