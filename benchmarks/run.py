"""Run a table of recommenders: every row and seed that has no record yet."""

# ruff: noqa: D102 -- what a method returns is said once, at the abstract class it implements

from collections.abc import Sequence
from pathlib import Path

from benchmarks import record as records
from benchmarks import record_checks as checks
from benchmarks.board import Board
from benchmarks.runner import Cell, Runner, Say, by_seed


class BoardRunner(Runner):
    """Its cells are trainings of recommenders."""

    def __init__(self, board: Board, *, device: str = "auto", say: Say = lambda _: None) -> None:
        super().__init__(board.name, board.home, device=device, say=say)
        self.board = board

    def path(self, row: str, seed: int) -> Path:
        return records.path_of(self.board, row, seed)

    def fault(self, row: str, seed: int) -> str:
        """A record of another split is not replaced: more than this table would have to be run again."""
        path = self.path(row, seed)
        try:
            record = records.read(path)
            checks.refuse_other_split(self.board, record, path)
            return next(checks.check(self.board, record, path), "")
        except records.DamagedError as error:
            return str(error)

    def arguments(self, row: str, seed: int) -> list[str]:
        cell = ["benchmarks", "cell", self.table, row, str(seed)]
        return [*cell, "--device", self.device, "--home", str(self.home.root)]

    def told(self, row: str, seed: int) -> str:
        made = records.read(self.path(row, seed))
        values = ", ".join(f"{name} {value:.4f}" for name, value in made.test[self.board.table.masking[0]].items())
        return f"{values} ({made.spent.wall_seconds:.0f} s, {made.spent.cpu_seconds:.0f} CPU-s)"


def run_table(
    board: Board, rows: Sequence[str], seeds: int, *, device: str = "auto", jobs: int = 1, say: Say = lambda _: None
) -> list[Cell]:
    """Run what is missing, all rows with the first seed before any with the second; returns the cells that failed.

    A record that does not fit the table any more is moved to the table's run folder once its new one is made.

    Raises:
        InputError: another runner is at this table, a row is unknown, or records are of another split, or of several.
    """
    checks.refuse_second_split(board)
    cells = by_seed({row: board.seeds(row, seeds) for row in board.choose(rows)})
    return BoardRunner(board, device=device, say=say).run(cells, jobs)
