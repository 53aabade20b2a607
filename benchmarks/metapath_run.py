"""Run the `metapath` table: every row and seed that has no record yet."""

# ruff: noqa: D102 -- what a method returns is said once, at the abstract class it implements

from collections.abc import Sequence
from pathlib import Path

from benchmarks.home import Home
from benchmarks.metapath import Row
from benchmarks.metapath_record import fitting, path_of
from benchmarks.runner import Cell, Runner, Say, by_seed
from graphcl.errors import InputError, suggest
from graphcl.training.checkpoint import make_folder

NAME = "metapath"


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


class MetapathRunner(Runner):
    """Its cells are trainings of embedders."""

    def __init__(self, rows: Sequence[Row], home: Home, *, device: str = "auto", say: Say = lambda _: None) -> None:
        super().__init__(NAME, home, device=device, say=say)
        self.rows = {row.name: row for row in rows}

    def path(self, row: str, seed: int) -> Path:
        return path_of(self.home.results(NAME), row, seed)

    def fault(self, row: str, seed: int) -> str:
        try:
            fitting(self.rows[row], self.path(row, seed))
        except InputError as error:
            return str(error)
        return ""

    def arguments(self, row: str, seed: int) -> list[str]:
        cell = ["benchmarks.metapath", str(self.home.found(NAME, row).resolve()), "--seeds", str(seed)]
        places = ["--out", str(self.home.results(NAME).resolve()), "--work", str(self.home.runs(NAME).resolve())]
        return [*cell, "--device", self.device, *places]

    def told(self, row: str, seed: int) -> str:
        record = fitting(self.rows[row], self.path(row, seed))
        scores = record.rules["last"]
        macro = ", ".join(f"{value:.2f}" for name, value in scores.items() if name.startswith("macro_f1@"))
        return f"Macro-F1 {macro}, NMI {scores['nmi']:.1f} ({record.train_cpu_seconds:.0f} CPU-s)"


def run(
    root: Path, wanted: Sequence[str] = (), seeds: int | None = None, *, device: str = "auto", jobs: int = 1, say: Say
) -> list[Cell]:
    """Run what is missing, all rows with the first seed before any with the second; returns the cells that failed.

    root: the folder of `configs`, `results` and `runs`. seeds: per row, in place of what each row says.

    Raises:
        InputError: another process runs this table, or a row is unknown.
    """
    rows = load_rows(root, wanted)
    refuse_no_rows(root, rows)
    make_folder(root / "results" / NAME)
    cells = by_seed({row.name: range(seeds or row.settings.seeds) for row in rows})
    return MetapathRunner(rows, Home(root), device=device, say=say).run(cells, jobs)
