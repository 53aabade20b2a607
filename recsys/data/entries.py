"""What datasets.yaml says: one entry per data set, checked when it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from graphcl.errors import InputError, suggest
from recsys.config import construct, read
from recsys.data.filters import FILTERS
from recsys.data.readers import READERS
from recsys.data.splits import SPLITS


@dataclass(frozen=True, kw_only=True)
class File:
    """Where a file comes from, and how to know it."""

    sha256: str | None = None
    """The hash of the file; None where nobody published it, and the content of the data is checked instead."""
    url: str | None = None
    """Where it is downloaded from; None where it is only read if it is there."""
    member: str | None = None
    """Its name in the zip archive at `url`, or in the installed package `package`."""
    archive: str | None = None
    """The hash of that archive, as "sha256:..." or "md5:..."."""
    package: str | None = None
    """The installed Python package that brings it."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One way to get a data set; the first whose files are there is used, else the first that can be downloaded."""

    files: Mapping[str, File]
    """The files, by their names in the folder of the entry."""
    reader: Mapping[str, Any] | None = None
    """How they are read; `path` names the file, or a file for each part, and may be left out if there is only one."""
    checked: bool = True
    """Whether somebody here read these very files and got the content that is recorded."""
    note: str = ""
    """What a person should know of this source."""

    def paths(self, found: Mapping[str, Path]) -> dict[str, Path]:
        """The files that the reader reads, by what they are to it."""
        path = (self.reader or {}).get("path", next(iter(self.files)))
        return {
            part: found[file] for part, file in (path if isinstance(path, Mapping) else {"interactions": path}).items()
        }


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the data must contain after the filters; None is not checked."""

    users: int | None = None
    """Number of users."""
    items: int | None = None
    """Number of items."""
    interactions: int | None = None
    """Number of events."""


@dataclass(frozen=True, kw_only=True)
class NamedSplit:
    """A split that results are reported on."""

    rule: Mapping[str, Any]
    """The split's kind and keys."""
    train: int | None = None
    """Number of training events."""
    valid: int | None = None
    """Number of validation events."""
    test: int | None = None
    """Number of test events."""
    digest: str | None = None
    """The identity of the split."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A data set."""

    title: str
    """What it is, in a line."""
    licence: str
    """The terms of its source, or "not stated"."""
    origin: str
    """Where it was published."""
    sources: tuple[Source, ...]
    """How to get it."""
    kind: Literal["interactions", "graph", "checkpoint"] = "interactions"
    """What the files hold; only interactions can be split."""
    filters: tuple[Mapping[str, Any], ...] = ()
    """What is filtered before the split."""
    splits: Mapping[str, NamedSplit] = field(default_factory=dict)
    """The splits in use; the first is the default."""
    expect: Counts = field(default_factory=Counts)
    """What must be there after the filters."""
    content: str | None = None
    """The identity of the data before the filters, whatever file it was read from."""
    note: str = ""
    """What a person should know of it."""


def catalogue_path() -> Path:
    """datasets.yaml: the one of the checkout, else the one that was installed with the package."""
    package = Path(__file__).parent
    checkout = package.parents[1] / "datasets.yaml"
    return checkout if checkout.is_file() else package / "datasets.yaml"


@cache
def read_catalogue(path: Path) -> Mapping[str, Entry]:
    """Every entry of a catalogue file by name.

    Raises:
        ConfigError: the file has mistakes; all are listed.
    """
    problems: list[str] = []
    entries = {name: construct(Entry, tree, f"{path.name}: {name}", problems) for name, tree in read(path).items()}
    for name, entry in entries.items():
        if entry is not None:
            problems += [f"{path.name}: {name}: {problem}" for problem in faults(entry)]
    if problems:
        raise InputError("\n".join(problems))
    return entries


def faults(entry: Entry) -> list[str]:
    """What is wrong with an entry beyond its keys."""
    names = [file for source in entry.sources for file in source.files]
    problems = [f"file name {name!r} must have no folder in it" for name in names if Path(name).name != name]
    kinds = [("filters", rule, FILTERS) for rule in entry.filters]
    kinds += [("splits", named.rule, SPLITS) for named in entry.splits.values()]
    kinds += [("reader", source.reader, READERS) for source in entry.sources if source.reader is not None]
    return problems + [
        f"{place}: kind {tree.get('kind')!r} is unknown{suggest(tree.get('kind'), table)}"
        for place, tree, table in kinds
        if tree.get("kind") not in table
    ]


def catalogue() -> Mapping[str, Entry]:
    """Every entry of datasets.yaml by name."""
    return read_catalogue(catalogue_path())


def find_entry(name: str) -> Entry:
    """The entry of that name.

    Raises:
        InputError: there is none; the nearest name is suggested.
    """
    entries = catalogue()
    if name not in entries:
        raise InputError(
            f"dataset: {name!r} is not in {catalogue_path().name}{suggest(name, entries)} "
            f"(your own files: dataset: {{reader: {{kind: table, path: ...}}}})"
        )
    return entries[name]
