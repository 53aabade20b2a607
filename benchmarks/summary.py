"""Records become a table: means over seeds, what was spent, and what is really better than the best baseline."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev
from typing import Any

import pandas as pd

from benchmarks import record as records
from benchmarks.record import Record
from benchmarks.table import Board, Masking, Row
from recsys.evaluation.significance import Comparison, compare


@dataclass(frozen=True)
class Value:
    """A metric over seeds."""

    seeds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return mean(self.seeds)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over seeds; None for a single one."""
        return stdev(self.seeds) if len(self.seeds) > 1 else None

    def __str__(self) -> str:
        return f"{self.mean:.4f}" + ("" if self.sd is None else f" ± {self.sd:.4f}")


@dataclass(frozen=True)
class Summary:
    """Everything that a report says of a table."""

    board: Board
    records: Mapping[tuple[str, int], Record]

    @classmethod
    def of(cls, board: Board) -> "Summary":
        """From the records on disk.

        Raises:
            InputError: a record is damaged or does not belong to the table.
        """
        return cls(board, records.load(board))

    def seeds(self, row: str) -> list[Record]:
        """The records of a row, by seed."""
        return [record for (name, _), record in sorted(self.records.items()) if name == row]

    def value(self, row: str, rule: str, metric: str) -> Value | None:
        """A cell of the table; None if it was not run."""
        found = self.seeds(row)
        return Value(tuple(record.test[rule][metric] for record in found)) if found else None

    def title(self, row: str) -> str:
        """What pages call a row."""
        return self.board.table.rows[row].title or row

    @property
    def rows(self) -> dict[str, Row]:
        """Those that can be run."""
        return self.board.table.trained

    @property
    def users(self) -> int | None:
        """Users of the test part."""
        return next((record.users for record in self.records.values()), None)

    def best_baseline(self, rule: str) -> str | None:
        """The baseline with the highest test mean of the monitored metric: the one that is hardest to beat."""
        monitor = self.board.table.monitor
        reached = {
            row: value.mean
            for row, line in self.rows.items()
            if line.baseline and (value := self.value(row, rule, monitor)) is not None
        }
        return max(reached, key=lambda row: reached[row]) if reached else None

    def per_user(self, row: str, rule: str) -> "pd.Series[float] | None":
        """The monitored metric of each user, mean over the seeds; None where a file is not here."""
        metric = self.board.table.monitor
        parts = [records.per_user(self.board, row, record.seed, rule, metric) for record in self.seeds(row)]
        whole = [part for part in parts if part is not None]
        return pd.concat(whole, axis=1).mean(axis=1) if whole and len(whole) == len(parts) else None

    @cached_property
    def comparisons(self) -> dict[Masking, dict[str, Comparison]]:
        """Masking rule -> row -> how it stands to the best baseline, user by user; Holm over the rows of a rule."""
        return {rule: self.compare(rule) for rule in self.board.table.masking}

    def compare(self, rule: Masking) -> dict[str, Comparison]:
        """Every row but the best baseline, against it."""
        best = self.best_baseline(rule)
        reference = None if best is None else self.per_user(best, rule)
        if reference is None:
            return {}
        others = {
            row: values
            for row in self.rows
            if row != best and (values := self.per_user(row, rule)) is not None and values.index.equals(reference.index)
        }
        return compare(
            reference.to_numpy(),
            {row: values.to_numpy() for row, values in others.items()},
            confidence=self.board.table.confidence,
        )

    def trials(self, row: str) -> str:
        """How many hyper-parameter trials a row had."""
        if not self.board.draws(row):
            return "none needed"
        found = self.board.found(row)
        return "0" if found is None else str(found.trials)

    def not_run(self) -> Iterator[str]:
        """Rows without a record."""
        return (row for row in self.rows if not self.seeds(row))

    def cost(self, row: str) -> dict[str, str]:
        """What a row takes, mean over its seeds."""
        found = self.seeds(row)
        if not found:
            return {}

        def average(pick: Any) -> float:
            return mean(pick(record) for record in found)

        return {
            "parameters": f"{found[0].parameters:,}",
            "best epoch": f"{average(lambda r: r.outcome['best_epoch']):.0f}",
            "epochs": f"{average(lambda r: r.outcome['last_epoch'] + 1):.0f}",
            "wall s": f"{average(lambda r: r.spent.wall_seconds):.0f}",
            "CPU s": f"{average(lambda r: r.spent.cpu_seconds):.0f}",
            "peak MiB": f"{max(r.spent.peak_memory_mib for r in found):.0f}",
            "joules": "unknown"
            if any(r.spent.energy_joules is None for r in found)
            else f"{average(lambda r: r.spent.energy_joules):.0f}",
            "trials": self.trials(row),
            "commits": ", ".join(dict.fromkeys(r.commit for r in found)),
        }

    def hardware(self) -> list[str]:
        """The machines and versions that made the records, each once."""
        described = []
        for record in self.records.values():
            machine, packages = record.environment["machine"], record.environment["packages"]
            versions = ", ".join(f"{name} {version}" for name, version in packages.items())
            text = (
                f"{machine['system']}, {machine['cores']} cores, {machine['threads']} threads, "
                f"GPU {machine['gpu'] or 'none'}; Python {record.environment['python']}, {versions}"
            )
            described.append(text)
        return list(dict.fromkeys(described))


def significant(probability: float) -> str:
    """A p-value as people read it."""
    return "< 0.0001" if probability < 1e-4 else "—" if math.isnan(probability) else f"{probability:.4f}"
