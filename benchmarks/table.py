"""What a leaderboard table is: data, protocol, rows, and the values that others have published.

`tables/<name>.yaml` holds one. Rows state only what differs from the defaults of the library; what a search has found
for a row stands in `configs/<name>/<row>.yaml` and is laid over it, so that a shipped table is frozen in every key.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.home import Home
from graphcl.errors import InputError, suggest
from graphcl.ranges import Count, Rate, Whole
from recsys.config import ConfigError, build, read
from recsys.evaluation.metrics import PER_USER, parse
from recsys.experiment import Experiment
from recsys.models import MODELS
from recsys.search_space import space_of
from recsys.tune import Found

Masking = Literal["history", "train", "none"]
"""What is kept out of a test ranking: all that the user had before (train and valid), train alone, or nothing."""
Candidates = Literal["all", "trained", "sampled"]
"""What a ranking is of: all items, those with a training event, or the true ones among a few that were drawn."""
Selection = Literal["valid", "test", "last"]
"""What chose the epoch that was reported: the best on validation, the best on test, or none (the last epoch)."""

MASKING_WORDS: Mapping[str, str] = {
    "history": "items of train and valid left out of the ranking",
    "train": "items of train left out of the ranking, those of valid kept in it",
    "none": "no item left out of the ranking",
}

CANDIDATE_WORDS: Mapping[str, str] = {
    "all": "all items ranked",
    "trained": "items without a training event left out, too",
    "sampled": "ranked among a few items that were drawn",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table."""

    title: str = ""
    """What the page calls it; its key if empty."""
    model: dict[str, Any] | str | None = None
    """The model's kind and what differs from its defaults; none for a row that is only known from publications."""
    training: dict[str, Any] = field(default_factory=dict)
    """What differs from the table's `training`."""
    search: dict[str, Any] = field(default_factory=dict)
    """What is searched for this row in place of the table's space, where its keys mean something else."""
    variant_of: str | None = None
    """For an ablation, the row whose model and training it has, with all that its search has found. `model` and
    `training` are laid over them, and nothing is searched for it."""
    by_hand: Whole = 0
    """Trainings that somebody looked at on validation before the row was written down."""
    tested_before: Whole = 0
    """Earlier configurations of it whose test values had been seen when this one was written down."""
    baseline: bool = False
    """Whether it learns without contrast; the best of these is what the others are tested against."""
    outdated: str = ""
    """What was mended in the code since its records were made, should that bear on them; they are to be made anew."""
    differs: str = ""
    """How the row differs from what publications call so, should it be trained another way: their values are then not
    comparable."""
    note: str = ""

    def __post_init__(self) -> None:
        space_of(self.search)


@dataclass(frozen=True, kw_only=True)
class Published:
    """Values from one source, made by one protocol."""

    source: str
    """Where they are printed."""
    metrics: tuple[str, ...]
    """The columns of `rows`."""
    rows: dict[str, tuple[float | None, ...]]
    """Row -> one value per metric; ~ where the source has none."""
    digest: str | None = None
    """The split they were made on; ~ if it is another one than any here, or the source does not say."""
    masking: Masking | None = None
    """Their masking; ~ if the source does not say."""
    candidates: Candidates = "all"
    """What they ranked."""
    selection: Selection | None = None
    """How they chose the epoch; ~ if the source does not say."""
    note: str = ""

    def __post_init__(self) -> None:
        for name, values in self.rows.items():
            if len(values) != len(self.metrics):
                raise InputError(f"rows.{name}: has {len(values)} values for {len(self.metrics)} metrics")


@dataclass(frozen=True, kw_only=True)
class Search:
    """How every trained row of the table is tuned: the same for all, on validation only."""

    trials: Whole = 0
    """Trials per row, the first with the row as it stands; 0 where nothing is searched."""
    epochs: Count = 20
    """Passes over the data per trial."""
    patience: Count = 5
    """Evaluations without a better value after which a trial ends."""
    space: dict[str, Any] = field(default_factory=dict)
    """What is searched, as `recsys.search_space.space_of` reads it; a row takes the keys that it has."""

    def __post_init__(self) -> None:
        space_of(self.space)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One leaderboard."""

    title: str
    dataset: str | dict[str, Any]
    """A name in datasets.yaml, or a description of own files."""
    digest: str | None
    """The split's identity: results on another are refused. ~ where nobody here has seen the data; then all records
    must be of one split, and no published value stands beside them."""
    rows: dict[str, Row]
    split: str | dict[str, Any] | None = None
    """By default the one named after the models' task, else the data set's first."""
    masking: tuple[Masking, ...] = ("history",)
    """The rules by which test is ranked; the first also ranks validation."""
    candidates: Literal["all", "trained"] = "all"
    """What is ranked: all items, or those with a training event."""
    metrics: tuple[str, ...] = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
    monitor: str = "ndcg@10"
    """The validation metric that chooses the epoch; the tests of significance are on it, too."""
    selection: Literal["valid", "loss"] = "valid"
    """What chooses the epoch: `monitor` on validation, or, where a split has no such part, the lowest training loss."""
    training: dict[str, Any] = field(default_factory=dict)
    """What all rows share."""
    search: Search = field(default_factory=Search)
    published: tuple[Published, ...] = ()
    tolerance: Rate = 0.02
    """A published value is reproduced if our mean differs from it by no more than this share of it."""
    seeds: Count = 3
    cost: str = ""
    """What a run of the whole table takes."""
    confidence: Rate = 0.95
    """Of the intervals over users."""
    note: str = ""

    def __post_init__(self) -> None:
        problems = [f"published {p.source!r}: {problem}" for p in self.published for problem in self.unknown(p)]
        if not self.masking or len(set(self.masking)) < len(self.masking):
            problems.append("masking: name each rule once, at least one of history, train, none")
        for name in (*self.metrics, self.monitor):
            if parse(name)[0] not in PER_USER:
                problems.append(f"metrics: {name} has no value per user; tables show {', '.join(PER_USER)}")
        for name, row in self.rows.items():
            base = self.rows.get(row.variant_of) if row.variant_of else None
            if row.variant_of and (base is None or base.model is None or base.variant_of):
                problems.append(f"rows.{name}: variant_of: {row.variant_of!r} must be a row with a model of its own")
            if row.variant_of and (not isinstance(row.model, dict) or "kind" in row.model or row.search):
                problems.append(f"rows.{name}: a variant has the keys of `model` that differ, no kind and no search")
        if self.monitor not in self.metrics:
            problems.append(f"monitor: {self.monitor} is not among the metrics")
        if self.selection == "loss" and self.search.trials:
            problems.append("search: needs a validation part to judge its trials; let `trials` be 0")
        if problems:
            raise InputError("; ".join(problems))

    def unknown(self, block: Published) -> Iterator[str]:
        """What a published block names that the table does not."""
        for name in block.rows:
            if name not in self.rows:
                yield f"row {name!r} is not in the table{suggest(name, self.rows)}"

    @property
    def trained(self) -> dict[str, Row]:
        """The rows that can be run."""
        return {name: row for name, row in self.rows.items() if row.model is not None}

    def words(self, rule: Masking) -> str:
        """What a masking rule leaves out of a ranking of this table; without a valid part there is none to keep."""
        bare = (rule, self.selection) == ("train", "loss")
        masked = "items of train left out of the ranking" if bare else MASKING_WORDS[rule]
        return masked if self.candidates == "all" else f"{masked}, {CANDIDATE_WORDS[self.candidates]}"

    def values(self) -> Iterator[tuple[str, str, float, Published]]:
        """(row, metric, published value, where it is from)."""
        for block in self.published:
            for name, values in block.rows.items():
                for metric, value in zip(block.metrics, values, strict=True):
                    if value is not None:
                        yield name, metric, value, block


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
        problems = []
        for row in board.table.trained:
            try:
                board.experiment(row, 0)
            except InputError as error:
                problems += [f"{name}.rows.{row}: {line}" for line in str(error).splitlines()]
        if problems:
            raise ConfigError("\n".join(problems))
        return board

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
        return kind not in MODELS or bool(MODELS[kind].phases)

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
