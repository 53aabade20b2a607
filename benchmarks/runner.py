"""What it is to run a table, whatever the table is of."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.home import Home
from benchmarks.process import Processes, in_parallel, last_line
from graphcl.training.checkpoint import make_folder
from graphcl.training.lock import locked

Cell = tuple[str, int]
"""A row's name and a seed."""
Say = Callable[[str], None]


class Runner(ABC):
    """Runs the cells of a table that have no record yet, each in a process of its own.

    A kind of table says what the record of a cell is, and what makes it.
    """

    def __init__(self, table: str, home: Home, *, device: str = "auto", say: Say = lambda _: None) -> None:
        self.table, self.home, self.device, self.say = table, home, device, say

    @abstractmethod
    def path(self, row: str, seed: int) -> Path:
        """Where the record of a cell lies."""

    @abstractmethod
    def fault(self, row: str, seed: int) -> str:
        """Why the record of a cell does not fit the table any more; empty if it does.

        Raises:
            InputError: it must not be replaced, either.
        """

    @abstractmethod
    def arguments(self, row: str, seed: int) -> list[str]:
        """What follows `python -m` to run a cell."""

    @abstractmethod
    def told(self, row: str, seed: int) -> str:
        """What the record that a cell has just made says, in short."""

    def run(self, cells: Sequence[Cell], jobs: int = 1) -> list[Cell]:
        """Run what is missing of the cells, `jobs` at a time; returns those that failed.

        Raises:
            InputError: another runner is at this table, or a record must not be replaced.
        """
        with locked(self.home.runs(self.table) / ".lock", f"table {self.table}") as lock:
            missing = [cell for cell in cells if not self.is_done(*cell)]
            self.say(f"{len(cells) - len(missing)} of {len(cells)} cells have their record")
            codes = in_parallel(lambda cell, processes: self.start(*cell, lock, processes), missing, jobs)
        return [cell for cell, code in zip(missing, codes, strict=True) if code]

    def is_done(self, row: str, seed: int) -> bool:
        """Whether a cell has a record that fits; the cell that makes a new one moves one that does not."""
        if not self.path(row, seed).exists():
            return False
        fault = self.fault(row, seed)
        if fault:
            self.say(f"{fault}\n  it is made again; this one will be kept in {self.home.superseded(self.table)}")
        return not fault

    def start(self, row: str, seed: int, lock: int, processes: Processes) -> int:
        """Run one cell in its own process, which holds the table's lock with us; returns its exit status."""
        log = self.home.runs(self.table) / f"{row}-{seed}" / "log.txt"
        make_folder(log.parent)
        self.say(f"{row}, seed {seed}: started")
        code = processes.run(self.arguments(row, seed), log, lock)
        if code and processes.ended:
            told = "interrupted; the same command goes on"
        else:
            told = f"failed with status {code}: {last_line(log)} ({log})" if code else self.told(row, seed)
        self.say(f"{row}, seed {seed}: {told}")
        return code


def by_seed(seeds: dict[str, Sequence[int]]) -> list[Cell]:
    """Every cell of the rows' seeds, all rows with the first seed before any with the second."""
    return sorted(((row, seed) for row, wanted in seeds.items() for seed in wanted), key=lambda cell: cell[1])
