"""What a leaderboard table is: data, protocol, rows, and the values that others have published.

`tables/<name>.yaml` holds one. Rows state only what differs from the defaults of the library; what a search has found
for a row stands in `configs/<name>/<row>.yaml` and is laid over it, so that a shipped table is frozen in every key.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from graphcl.errors import InputError, suggest
from graphcl.ranges import Count, Rate, Share, Whole
from recsys.evaluation.metrics import PER_USER, parse
from recsys.search_space import space_of

Masking = Literal["history", "train", "none"]
"""What is kept out of a test ranking: all that the user had before (train and valid), train alone, or nothing."""
Candidates = Literal["all", "trained", "sampled"]
"""What a ranking is of: all items, those with a training event, or the true ones among a few that were drawn."""
Selection = Literal["valid", "test", "last"]
"""What chose the epoch that was reported: the best on validation, the best on test, or none (the last epoch)."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""What a row may be called: files are named after it."""

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
    candidates: Candidates | None = None
    """What they ranked; ~ if the source does not say."""
    selection: Selection | None = None
    """How they chose the epoch; ~ if the source does not say."""
    note: str = ""

    def __post_init__(self) -> None:
        refuse_odd_metrics(self.metrics)
        for name, values in self.rows.items():
            if len(values) != len(self.metrics):
                raise InputError(f"rows.{name}: has {len(values)} values for {len(self.metrics)} metrics")
            if wrong := [value for value in values if value is not None and not 0 < value <= 1]:
                raise InputError(f"rows.{name}: {wrong[0]} is not in (0, 1]; write 0.05 for 5 %, ~ where there is none")


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
    confidence: Share = 0.95
    """Of the intervals over users."""
    note: str = ""

    def __post_init__(self) -> None:
        refuse_odd_names(self.rows)
        refuse_odd_metrics(self.metrics)
        problems = [f"published {p.source!r}: {problem}" for p in self.published for problem in self.unknown(p)]
        problems += [problem for name, row in self.rows.items() for problem in self.unlike_a_variant(name, row)]
        sources = [block.source for block in self.published]
        problems += [
            f"published {name!r}: two blocks are called so; say what sets them apart"
            for name in dict.fromkeys(name for name in sources if sources.count(name) > 1)
        ]
        if not self.metrics:
            problems.append("metrics: name at least one, such as ndcg@10")
        if not self.masking or len(set(self.masking)) < len(self.masking):
            problems.append("masking: name each rule once, at least one of history, train, none")
        for name in (*self.metrics, self.monitor):
            if parse(name)[0] not in PER_USER:
                problems.append(f"metrics: {name} has no value per user; tables show {', '.join(PER_USER)}")
        if self.monitor not in self.metrics:
            problems.append(f"monitor: {self.monitor} is not among the metrics")
        if self.selection == "loss" and self.search.trials:
            problems.append("search: needs a validation part to judge its trials; let `trials` be 0")
        if problems:
            raise InputError("; ".join(problems))

    def unlike_a_variant(self, name: str, row: Row) -> Iterator[str]:
        """What keeps a row from being a variant of another, should it say that it is one."""
        if not row.variant_of:
            return
        base = self.rows.get(row.variant_of)
        if base is None or base.model is None or base.variant_of:
            yield f"rows.{name}: variant_of: {row.variant_of!r} must be a row with a model of its own"
        if not isinstance(row.model, dict) or "kind" in row.model or row.search:
            yield f"rows.{name}: a variant has the keys of `model` that differ, no kind and no search"

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


def refuse_odd_names(rows: Mapping[str, Row]) -> None:
    """Raise `InputError` where a row that can be run is called what no file can be called."""
    for name, row in rows.items():
        if not isinstance(name, str) or (row.model is not None and not NAME.fullmatch(name)):
            raise InputError(
                f"rows: {name!r} cannot name files; write letters, digits, _, -, + or ., a letter or digit first, in "
                f"quotes where YAML would read something else; `title` is what pages show"
            )


def refuse_odd_metrics(metrics: Sequence[str]) -> None:
    """Raise `InputError` where a metric is unknown, spelt in another way than ours, or named more than once."""
    for name in metrics:
        kind, k = parse(name)
        if name != f"{kind}@{k}":
            raise InputError(f"metrics: write {kind}@{k} for {name!r}")
    if twice := [name for name in metrics if metrics.count(name) > 1]:
        raise InputError(f"metrics: {twice[0]} is named twice; name each once")
