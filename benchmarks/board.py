"""A table at its place on disk: its rows' configurations, with all that searches have found for them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.home import Home
from benchmarks.table import Table
from graphcl.errors import InputError, suggest
from recsys.config import ConfigError, build, read
from recsys.data.catalog import choose_split, find_interactions
from recsys.experiment import Experiment
from recsys.models import MODELS
from recsys.search_space import Space, full_names, refuse_misfits, space_of
from recsys.tune import Found


@dataclass(frozen=True)
class Board:
    """A table with its name and its place on disk."""

    name: str
    table: Table
    home: Home

    @classmethod
    def load(cls, name: str, home: Home | None = None) -> "Board":
        """Read and check `tables/<name>.yaml` and every row in it.

        Raises:
            InputError: there is no such table, or it has mistakes: all of them at once.
        """
        home = home or Home()
        if name not in home.names():
            raise InputError(f"table {name!r} is unknown{suggest(name, home.names())}")
        board = cls(name, build(Table, read(home.table(name)), name), home)
        if problems := list(board.problems()):
            raise ConfigError("\n".join(problems))
        return board

    def problems(self) -> Iterator[str]:
        """What is wrong with the data, the rows and the search, taken together."""
        yield from lines(self.name, self.refuse_unknown_data)
        experiments: dict[str, Experiment] = {}
        for row in self.table.trained:
            try:
                experiments[row] = self.experiment(row, 0)
            except InputError as error:
                yield from (f"{self.name}.rows.{row}: {line}" for line in str(error).splitlines())
        yield from self.misfits(experiments)
        for path in sorted(self.home.found(self.name, "x").parent.glob("*.yaml")):
            if path.stem not in self.table.trained or self.table.rows[path.stem].variant_of:
                near = suggest(path.stem, self.table.trained)
                yield f"{path}: the table has no row of this name that could be searched{near}"

    def refuse_unknown_data(self) -> None:
        """Raise `InputError` where datasets.yaml has no such interactions, or no such split of them."""
        if isinstance(self.table.dataset, str):
            choose_split(self.table.dataset, find_interactions(self.table.dataset), self.table.split)

    def misfits(self, experiments: Mapping[str, Experiment]) -> Iterator[str]:
        """Keys of the search that no row has, values that a row does not admit, and rankings that it cannot make."""
        known = {key for experiment in experiments.values() for key in keys_of(experiment)}
        for key in self.table.search.space if experiments else ():
            if key not in known:
                yield f"{self.name}.search.space.{key}: no row has this key{suggest(key, known)}"
        for row, experiment in experiments.items():
            place = f"{self.name}.rows.{row}"
            yield from lines(place, partial(refuse_misfits, self.space(row, experiment), experiment))
            if "train" in self.table.masking and experiment.model.task == "sequential":
                yield f"{place}: the masking rule 'train' is for general models; a sequential query reads valid, too"

    def space(self, row: str, experiment: Experiment) -> Space:
        """What is searched for a row: its own space, or those keys of the table's that it has; {} of a variant."""
        line = self.table.rows[row]
        if line.variant_of:
            return {}
        known = keys_of(experiment)
        shared = {key: choice for key, choice in self.table.search.space.items() if key in known}
        return space_of(line.search or shared)

    def refuse_other_split(self, digest: str) -> None:
        """Raise `InputError` where the data at hand is another split than the table's."""
        if self.table.digest not in (None, digest):
            raise InputError(
                f"table {self.name}: is on the split {self.table.digest}, the data here is {digest}; "
                f"take the data and the versions that the table was made with"
            )

    def found(self, row: str) -> Found | None:
        """What a search has found for the row."""
        path = self.home.found(self.name, row)
        return build(Found, read(path), f"{path.parent.name}/{path.name}") if path.exists() else None

    def tree(self, row: str, *, tuned: bool = True) -> dict[str, Any]:
        """The configuration of a row as a tree of keys, without seed and output."""
        table, line = self.table, self.table.rows[row]
        if line.variant_of:
            assert isinstance(line.model, dict)  # the table has refused all else
            base = self.tree(line.variant_of, tuned=tuned)
            return base | {"model": base["model"] | line.model, "training": base["training"] | line.training}
        found = self.found(row) if tuned else None
        block = {"kind": line.model} if isinstance(line.model, str) else dict(line.model or {})
        shared = table.training if self.draws(row) else {"epochs": 1}
        return {
            "dataset": table.dataset,
            "split": table.split,
            "model": block | (found.model if found else {}),
            "training": {**shared, **line.training, **(found.training if found else {})},
            "evaluation": {
                "monitor": "loss" if table.selection == "loss" else table.monitor,
                "report": list(table.metrics),
                "mask_history": table.masking[0] != "none",
                "candidates": table.candidates,
            },
        }

    def experiment(self, row: str, seed: int, *, device: str = "auto", tuned: bool = True) -> Experiment:
        """The experiment of one cell."""
        extra = {"seed": seed, "device": device, "output": str(self.home.runs(self.name) / f"{row}-{seed}")}
        return Experiment.load({**self.tree(row, tuned=tuned), **extra})

    def draws(self, row: str) -> bool:
        """Whether a row is trained step by step, so that its seed matters; a closed form is computed at once."""
        line = self.table.rows[row]
        block = self.table.rows[line.variant_of or row].model
        kind = block if isinstance(block, str) else (block or {}).get("kind")
        return not isinstance(kind, str) or kind not in MODELS or bool(MODELS[kind].phases)

    def seeds(self, row: str, count: int) -> range:
        """The seeds of a row: one where the model draws nothing."""
        return range(count if self.draws(row) else 1)

    def choose(self, rows: Iterable[str]) -> list[str]:
        """The rows that were asked for, all that can be run if none was.

        Raises:
            InputError: a row is not in the table, or has no model here.
        """
        chosen = list(dict.fromkeys(rows)) or list(self.table.trained)
        for row in chosen:
            if row not in self.table.rows:
                raise InputError(f"row {row!r} is not in table {self.name}{suggest(row, self.table.rows)}")
            if row not in self.table.trained:
                raise InputError(f"row {row!r} of table {self.name} is only known from publications; it cannot be run")
        return chosen


def keys_of(experiment: Experiment) -> set[str]:
    """What a search may call the keys of a row, with and without their block."""
    full = full_names(experiment)
    return {*full, *(name.partition(".")[2] for name in full)}


def lines(where: str, refuse: Callable[[], None]) -> Iterator[str]:
    """What a check refuses, a line each."""
    try:
        refuse()
    except InputError as error:
        yield from (f"{where}: {line}" for line in str(error).splitlines())
