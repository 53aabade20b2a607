"""Data by name: from datasets.yaml, or from files of your own, to a split that is checked."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from graphcl.errors import InputError, suggest
from recsys.config import ConfigError, build, choose
from recsys.data.entries import Counts, Entry, NamedSplit, Source, find_entry
from recsys.data.fetch import check_hashes, data_home, download, downloadable, present
from recsys.data.filters import FILTERS, apply_filters
from recsys.data.interactions import Interactions, Released, Split
from recsys.data.leakage import audit
from recsys.data.readers import READERS
from recsys.data.splits import SPLITS, AsReleased, Rule, undivided


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """Data in files of your own, as a configuration describes it."""

    reader: Mapping[str, Any]
    """The reader's kind and keys; its `path` is a file, or a file for each of train, test and (maybe) valid."""
    name: str = "own data"
    """What tables call it."""
    filters: tuple[str | Mapping[str, Any], ...] = ()
    """What is filtered before the split: kinds, or kinds with keys."""
    split: str | Mapping[str, Any] | None = None
    """How it is divided; by default as released where there are parts, else for sequential models by leaving out each
    user's last events (leave_one_out), for others 8 : 1 : 1 of each user's events at random (ratio)."""
    expect: Counts = field(default_factory=Counts)
    """What must be there after the filters."""


def load_split(
    dataset: str | Mapping[str, Any],
    *,
    split: str | Mapping[str, Any] | None = None,
    filters: Sequence[str | Mapping[str, Any]] | None = None,
    task: Literal["general", "sequential"] | None = None,
) -> Split:
    """The three parts of a data set, checked against leaks and, for entries of datasets.yaml, against their counts.

    dataset: a name in datasets.yaml, or a description of your own files (the keys of `OwnData`).
    split: in place of the default: a kind, a kind with keys, or the name of one of the entry's splits.
    filters: kinds and keys, in place of those of the data set; [] for none.
    task: what the split is for, where none is named: an entry's split of that name, if it has one, else its first; own
        files as `OwnData.split` says.

    Raises:
        InputError: with one sentence for each mistake in the description or the data.
    """
    if isinstance(dataset, Mapping):
        return load_own(build(OwnData, dataset, "dataset"), split, filters, task)
    entry = find_interactions(dataset)
    named = choose_split(dataset, entry, split or (task if task in entry.splits else None))
    events = load_events(dataset, entry)
    rules = entry.filters if filters is None else filters
    result, filtered = divide(dataset, events, rules, named.rule)
    if tuple(rules) == entry.filters:
        compare(dataset, counts_of(filtered), vars(entry.expect))
        compare(dataset, {part: len(getattr(result, part)) for part in ("train", "valid", "test")}, vars(named))
        compare_digest(dataset, result, named)
    return result


def find_interactions(name: str) -> Entry:
    """The entry of that name.

    Raises:
        InputError: there is none, or it holds no interactions.
    """
    entry = find_entry(name)
    if entry.kind != "interactions":
        raise InputError(f"dataset: {name!r} is a {entry.kind}, not interactions; it cannot be split")
    return entry


def split_interactions(
    events: Interactions | Released,
    *,
    split: str | Mapping[str, Any] = "ratio",
    filters: Sequence[str | Mapping[str, Any]] = (),
    name: str = "own data",
) -> Split:
    """The three parts of interactions that are in memory, filtered and checked as `load_split` does.

    Raises:
        InputError: with one sentence for each mistake in the description or the data.
    """
    if not isinstance(events, Interactions | Released):
        raise InputError(
            f"events: must be Interactions, got {type(events).__name__}; Interactions.from_dataframe reads a table of "
            f"pandas"
        )
    return divide(name, events, filters, split)[0]


def load_own(
    data: OwnData,
    split: str | Mapping[str, Any] | None,
    filters: Sequence[str | Mapping[str, Any]] | None,
    task: Literal["general", "sequential"] | None,
) -> Split:
    """The three parts of own files."""
    tree = dict(data.reader)
    path = tree.pop("path", None)
    named = path if isinstance(path, Mapping) else {"interactions": path}
    for part, file in named.items():
        if not (isinstance(file, str | Path) and str(file)):
            where = f"dataset.reader.path{f'.{part}' if named is path else ''}"
            raise InputError(f"{where}: must name a file, or a file for each of train, test and valid; got {file!r}")
    paths = {str(part): Path(file).expanduser() for part, file in named.items()}
    events = chosen(READERS, tree, "dataset.reader").read(paths)
    undivided_rule = "leave_one_out" if task == "sequential" else "ratio"
    released_rule = {"kind": "as_released", "by": "time" if task == "sequential" else "random"}
    rule = split or data.split or (undivided_rule if isinstance(events, Interactions) else released_rule)
    result, filtered = divide(data.name, events, data.filters if filters is None else filters, rule)
    if filters is None:
        compare(data.name, counts_of(filtered), vars(data.expect))
    return result


def divide(
    name: str,
    events: Interactions | Released,
    filters: Sequence[str | Mapping[str, Any]],
    rule: str | Mapping[str, Any],
) -> tuple[Split, Interactions]:
    """(the split with its protocol in words, the events that were divided)."""
    wanted = [chosen(FILTERS, tree, f"filters[{position}]") for position, tree in enumerate(filters)]
    by: Rule = chosen(SPLITS, rule, "split")
    if wanted:
        if isinstance(by, AsReleased):
            raise InputError("filters: released parts are not filtered; drop the filters or choose another split")
        events = apply_filters(undivided(events), wanted)
    parts = by.divide(events)
    words = {
        "dataset": name,
        "filters": "; ".join(map(str, wanted)) or "none",
        "split": by.words(events),
        "cold": str(audit(parts, by.order)),
    }
    return replace(parts, protocol=words), undivided(events)


def choose_split(name: str, entry: Entry, split: str | Mapping[str, Any] | None) -> NamedSplit:
    """The entry's split of that name or with those keys, the default one, or one that it does not know."""
    if split is None:
        return next(iter(entry.splits.values()))
    if isinstance(split, str):
        if split in entry.splits:
            return entry.splits[split]
        if split not in SPLITS:
            raise InputError(f"split: {name} has no split {split!r}{suggest(split, [*entry.splits, *SPLITS])}")
    wanted = chosen(SPLITS, split, "split")
    known = (named for named in entry.splits.values() if chosen(SPLITS, named.rule, name) == wanted)
    return next(known, NamedSplit(rule={"kind": split} if isinstance(split, str) else split))


def load_events(name: str, entry: Entry) -> Interactions | Released:
    """What the entry's files hold."""
    source, found = obtain(name, entry)
    return read_source(name, entry, source, found)


def files(name: str) -> dict[str, Path]:
    """The files of an entry, {file: path}: found and checked, or downloaded."""
    return obtain(name, find_entry(name))[1]


def verify(name: str) -> dict[str, Split]:
    """Check everything that datasets.yaml records of an entry whose files are here; nothing is downloaded.

    Returns:
        the entry's splits by name; none for graphs and checkpoints, whose files are checked by their hashes.

    Raises:
        InputError: the files are not here, or something is not as recorded.
    """
    entry = find_entry(name)
    if not any(present(name, source) for source in entry.sources):
        raise InputError(f"dataset {name}: is not in {data_home() / name}; run 'recsys datasets prepare {name}'")
    obtain(name, entry)
    return {which: load_split(name, split=which) for which in entry.splits}


def obtain(name: str, entry: Entry) -> tuple[Source, dict[str, Path]]:
    """The source that is used, and its files.

    Raises:
        InputError: a file is damaged, is not there and cannot be downloaded.
    """
    for source in entry.sources:
        found = present(name, source)
        if found is not None:
            check_hashes(name, source, found)
            return source, found
    for source in filter(downloadable, entry.sources):

        def accept(arrived: Mapping[str, Path], source: Source = source) -> None:
            if source.reader is not None:
                read_source(name, entry, source, arrived)

        return source, download(name, entry, source, accept)
    wanted = ", ".join(entry.sources[0].files)
    raise InputError(
        f"dataset {name}: {wanted} cannot be downloaded in this form; put it into {data_home() / name} ({entry.origin})"
    )


def read_source(name: str, entry: Entry, source: Source, found: Mapping[str, Path]) -> Interactions | Released:
    """The content of a source's files, if it is the content that the entry records."""
    assert source.reader is not None
    tree = {key: value for key, value in source.reader.items() if key != "path"}
    events: Interactions | Released = chosen(READERS, tree, f"{name}.reader").read(source.paths(found))
    if entry.content is not None and (actual := content_of(events)) != entry.content:
        raise InputError(
            f"dataset {name}: {', '.join(map(str, found.values()))} hold other data (content {actual}) "
            f"than datasets.yaml records ({entry.content}); delete them and run 'recsys datasets prepare {name}'"
        )
    return events


def content_of(events: Interactions | Released) -> str:
    """The identity of data, whatever file it was read from."""
    if isinstance(events, Interactions):
        return events.digest[:16]
    parts = (events.train, events.valid, events.test)
    return hashlib.sha256(" ".join("none" if part is None else part.digest for part in parts).encode()).hexdigest()[:16]


def counts_of(events: Interactions) -> dict[str, int]:
    """The numbers that `Counts` expects."""
    return {"users": events.num_users, "items": events.num_items, "interactions": len(events)}


def compare(name: str, actual: Mapping[str, int], expected: Mapping[str, Any]) -> None:
    """Raise `InputError` for a count that is not as expected."""
    wrong = [
        f"{actual[key]:,} {key} where {expected[key]:,} are expected"
        for key in actual
        if expected.get(key) is not None and actual[key] != expected[key]
    ]
    if wrong:
        raise InputError(f"dataset {name}: has {', '.join(wrong)}; it is another version of the data, or other filters")


def compare_digest(name: str, split: Split, named: NamedSplit) -> None:
    """Raise `InputError` if a split is not the one that results are reported on."""
    if named.digest is not None and split.digest != named.digest:
        raise InputError(
            f"dataset {name}: the split hashes to {split.digest}, not to {named.digest} as in datasets.yaml; results "
            f"on it cannot be compared; take the versions of torch and of the data that datasets.yaml was made with"
        )


def chosen(table: Mapping[str, Any], tree: Any, where: str) -> Any:
    """An instance of the class that `kind` names, its keys checked."""
    problems: list[str] = []
    instance = choose(table, tree, where, problems)
    if problems:
        raise ConfigError("\n".join(problems))
    return instance
