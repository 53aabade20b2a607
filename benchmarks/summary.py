"""Records become a table: means over seeds, what was spent, and what is really better than the best baseline."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev

import pandas as pd

from benchmarks.board import Board
from benchmarks.record import Record, per_user
from benchmarks.record_checks import load
from benchmarks.table import Masking, Row
from recsys.evaluation.significance import Comparison, compare, interval
from recsys.search_space import searchable

NO_SEARCH = "—"
"""Stands for the number of trials of a row that has nothing to search."""


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
        return cls(board, load(board))

    def seeds(self, row: str) -> list[Record]:
        """The records of a row, by seed."""
        return [record for (name, _), record in sorted(self.records.items()) if name == row]

    def wanted(self, row: str) -> int:
        """How many records the row should have."""
        return len(self.board.seeds(row, self.board.table.seeds))

    def done(self, row: str) -> int:
        """How many of these it has; records of other seeds count as none of them."""
        return sum((row, seed) in self.records for seed in self.board.seeds(row, self.board.table.seeds))

    def others(self, row: str) -> int:
        """How many records it has of other seeds."""
        return len(self.seeds(row)) - self.done(row)

    def complete(self, row: str) -> bool:
        """Whether each seed of the table has its record."""
        return self.done(row) == self.wanted(row)

    @property
    def open_baselines(self) -> list[str]:
        """Baselines with seeds to run: until they are, which baseline is best can change."""
        return [row for row, line in self.rows.items() if line.baseline and not self.complete(row)]

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
        """The monitored metric of each user, mean over the seeds; None of a row without a record."""
        metric = self.board.table.monitor
        parts = [per_user(self.board, row, record.seed, rule, metric) for record in self.seeds(row)]
        return pd.concat(parts, axis=1).mean(axis=1) if parts else None

    def interval(self, row: str, rule: str) -> tuple[float, float] | None:
        """Bootstrap interval over users of the monitored metric; None of a row without a record."""
        values = self.per_user(row, rule)
        return None if values is None else interval(values.to_numpy(), self.board.table.confidence)

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

    def not_compared(self, rule: Masking) -> list[str]:
        """Rows with a record that stand in no comparison, because its users are others."""
        compared = {self.best_baseline(rule), *self.comparisons[rule]} if self.comparisons[rule] else set()
        return [row for row in self.rows if self.seeds(row) and row not in compared]

    def trials(self, row: str) -> str:
        """How many hyper-parameter trials of a row gave a value; a dash where the table's space has no key of its."""
        found, by_hand = self.board.found(row), self.rows[row].by_hand
        if found is not None:
            made = f"{found.trials - found.failed} of {found.trials}" if found.failed else str(found.trials)
            return f"{made}, and {by_hand} by hand" if by_hand else made
        if self.rows[row].variant_of:
            return NO_SEARCH
        if by_hand:
            return f"{by_hand} by hand"
        experiment = self.board.experiment(row, 0)
        nothing_said = not (self.rows[row].search or self.board.table.search.space)
        return "0" if nothing_said or searchable(self.board.space(row, experiment), experiment) else NO_SEARCH

    def slices(self, row: str, rule: str) -> dict[str, dict[str, float]]:
        """Slice -> what is measured of it, mean over the seeds; {} where the records have none."""
        found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for record in self.seeds(row):
            for name, metrics in record.slices.get(rule, {}).items():
                for metric, value in metrics.items():
                    found[name][metric].append(value)
        return {name: {metric: mean(values) for metric, values in metrics.items()} for name, metrics in found.items()}

    def curve(self, row: str) -> list[tuple[int, float]]:
        """(epoch, monitored metric on validation), mean over the seeds that were still training."""
        found: dict[int, list[float]] = defaultdict(list)
        for record in self.seeds(row):
            for epoch in record.curve:
                if (value := epoch.get("metrics", {}).get(self.board.table.monitor)) is not None:
                    found[epoch["epoch"]].append(value)
        return [(epoch, mean(values)) for epoch, values in sorted(found.items())]

    def by_machine(self, row: str) -> dict[str, list[Record]]:
        """The records of a row by what trained them, a GPU or "CPU": costs of one say nothing of the other."""
        found: dict[str, list[Record]] = defaultdict(list)
        for record in self.seeds(row):
            found[record.environment["machine"]["gpu"] or "CPU"].append(record)
        return dict(sorted(found.items()))

    @property
    def on_gpu(self) -> bool:
        """Whether a record was made with a GPU, so that CPU seconds say little."""
        return any(record.environment["machine"]["gpu"] for record in self.records.values())

    def costs(self, row: str) -> Iterator[dict[str, str]]:
        """What a row takes on each kind of machine that trained it, mean over its seeds there."""
        for machine, found in self.by_machine(row).items():
            joules = [value for record in found if (value := record.spent.energy_joules) is not None]
            gpu = [value for record in found if (value := record.spent.gpu_memory_mib) is not None]
            yield {
                "trained on": machine,
                "seeds": str(len(found)),
                "parameters": f"{found[0].parameters:,}",
                "best epoch": f"{mean(r.outcome['best_epoch'] + 1 for r in found):.0f}",
                "epochs": f"{mean(r.outcome['last_epoch'] + 1 for r in found):.0f}",
                "wall s": f"{mean(r.spent.wall_seconds for r in found):,.0f}",
                "CPU s": f"{mean(r.spent.cpu_seconds for r in found):,.0f}",
                "peak MiB": f"{max(r.spent.peak_memory_mib for r in found):,.0f}",
                "GPU MiB": f"{max(gpu):,.0f}" if gpu else "—",
                "kJ": f"{mean(joules) / 1e3:.1f}" if joules else "unknown",
                "trials": self.trials(row),
                "commit": ", ".join(dict.fromkeys(name for r in found for name in short(r.commit))),
            }

    def hardware(self) -> dict[str, int]:
        """The machines and versions that made the records -> how many each."""
        found: dict[str, int] = defaultdict(int)
        for record in self.records.values():
            machine, packages = record.environment["machine"], record.environment["packages"]
            versions = ", ".join(f"{name} {version}" for name, version in packages.items())
            found[
                f"{machine['system']}, {machine['cores']} cores, {machine['threads']} threads, "
                f"GPU {machine['gpu'] or 'none'}; Python {record.environment['python']}, {versions}"
            ] += 1
        return dict(found)


def short(commits: str) -> list[str]:
    """The first ten digits of each commit, and whether files were changed."""
    return [name[:10] + ("-dirty" if name.endswith("-dirty") else "") for name in commits.split(", ")]


def percent(share: float) -> str:
    """A share as people read it, no digit lost: 0.025 is 2.5%."""
    return f"{100 * share:g}%"


def significant(probability: float) -> str:
    """A p-value as people read it."""
    return "< 0.0001" if probability < 1e-4 else "—" if math.isnan(probability) else f"{probability:.4f}"
