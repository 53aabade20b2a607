"""Tables with named columns: CSV, TSV, Parquet, and RecBole's atomic files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from graphcl.errors import InputError
from recsys.data.attributes import Attributes, Words
from recsys.data.interactions import Interactions, Released
from recsys.data.raw import Rows, columns_of
from recsys.data.text import demand_content, first_row, read_cells, read_text

NAMES = ("interactions", "train", "valid", "test")
"""What a path may be called: one file with everything, or one file per part."""
QUOTING = (",", ";", "|")
"""Separators in whose files cells usually may stand in quotes."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """CSV, TSV (also gzipped) or Parquet, with named columns."""

    kind: ClassVar[str] = "table"

    user: str = "user"
    """The column of user ids; ids are names, whatever they look like."""
    item: str = "item"
    """The column of item ids."""
    time: str | None = None
    """The column of times, numbers or dates; without it the order of the rows is the order of time."""
    value: str | None = None
    """The column of ratings or counts."""
    columns: tuple[str, ...] | None = None
    """The names of the columns, if the file has no header."""
    separator: str | None = None
    """What stands between columns; by default a tab in .tsv files and a comma in others."""
    quoted: bool | None = None
    """Whether a cell may stand in double quotes; by default where a comma, a semicolon or a bar separates."""
    encoding: str = "utf-8"
    """The encoding of a text file."""
    ids: Literal["names", "numbers"] = "names"
    """Whether ids are renumbered, or are numbers already and kept."""
    first_id: int = 0
    """The smallest id, where ids are numbers."""

    def __post_init__(self) -> None:
        if self.columns == ():
            raise InputError("columns: names none; leave it out where the file has a header")
        try:
            "".encode(self.encoding)
        except LookupError:  # unknown, or no encoding of text, as rot13
            raise InputError(f"encoding: {self.encoding!r} is unknown; write utf-8, latin-1, ...") from None

    def read(self, paths: Mapping[str, Path]) -> Interactions | Released:
        """The interactions of {"interactions": path}, or the parts of {"train", "test" and maybe "valid": path}."""
        return combine(paths, self.rows, ids=self.ids, first_id=self.first_id)

    def rows(self, path: Path) -> Rows:
        """The rows of one file."""
        wanted = {"user": self.user, "item": self.item, "time": self.time, "value": self.value}
        if path.suffix == ".parquet":
            return Rows(columns_of(read_parquet(path, wanted), wanted, str(path)), lambda row: f"{path}, row {row + 1}")
        separator = self.separator or ("\t" if ".tsv" in path.suffixes else ",")
        quoted = separator in QUOTING if self.quoted is None else self.quoted
        return read_text(path, separator, self.columns, wanted, encoding=self.encoding, quoted=quoted)


@dataclass(frozen=True, kw_only=True)
class RecboleAtomic:
    """RecBole's `.inter` file: tab-separated, a header of `name:type`; with its `.user` and `.item` files, if given."""

    kind: ClassVar[str] = "recbole_atomic"

    user: str = "user_id"
    """The field of user ids."""
    item: str = "item_id"
    """The field of item ids."""
    time: str | None = "timestamp"
    """The field of times, read in full precision; a file without `timestamp` has none."""
    value: str | None = "rating"
    """The field of ratings; a file without `rating` has none."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """The fields of the `.user` and `.item` files that are kept, by the names they get; by default all."""

    def read(self, paths: Mapping[str, Path]) -> Interactions | Released:
        """The interactions of {"interactions": path}, or the parts of {"train", "test" and maybe "valid": path}.

        The paths may also name a "user" and an "item" file; what these say becomes `Interactions.attributes`.
        """
        sides = {side: read_attributes(paths[side], self.attributes) for side in ("user", "item") if side in paths}
        read = combine({part: path for part, path in paths.items() if part not in sides}, self.rows)
        return with_attributes(read, Attributes(**sides))

    def rows(self, path: Path) -> Rows:
        """The rows of one file."""
        header = [name.partition(":")[0] for name in first_row(path, "\t")]
        usual = RecboleAtomic()
        optional = {
            role: name
            for role, name, default in (("time", self.time, usual.time), ("value", self.value, usual.value))
            if name in header or name != default  # a name of somebody's own must be there
        }
        return read_text(path, "\t", None, {"user": self.user, "item": self.item, **optional}, strip_types=True)


def read_attributes(path: Path, wanted: Mapping[str, str]) -> dict[str, Words]:
    """RecBole's `.item` or `.user` file: the first field is the id, a `token_seq` field holds words between spaces.

    wanted: {name: field}; names whose field is not in this file are left out. {} takes every field.

    Raises:
        InputError: the file is missing or broken, or an id occurs twice.
    """
    header = [cell.partition(":") for cell in first_row(path, "\t")]
    names = tuple(name for name, _, _ in header)
    frame = read_cells(path, "\t", names, dict.fromkeys(names, str), headed=True, blanks=False)
    ids = frame[names[0]].astype(str)
    if ids.duplicated().any():
        raise InputError(f"{path}: the id {ids[ids.duplicated()].iloc[0]!r} occurs twice; ids must be unique")
    several = {name for name, _, kind in header if kind == "token_seq"}
    found: dict[str, Words] = {}
    for name, column in (wanted or dict(zip(names[1:], names[1:], strict=True))).items():
        if column in names[1:]:
            split = [tuple(cell.split()) if column in several else (cell,) if cell else () for cell in frame[column]]
            found[name] = dict(zip(ids, split, strict=True))
    return found


def with_attributes(read: Interactions | Released, attributes: Attributes) -> Interactions | Released:
    """The same interactions, and what is known of their users and items."""
    if isinstance(read, Interactions):
        return replace(read, attributes=attributes)
    return Released(*(part if part is None else replace(part, attributes=attributes) for part in read))  # type: ignore[arg-type]


def combine(
    paths: Mapping[str, Path],
    rows: Callable[[Path], Rows],
    *,
    ids: Literal["names", "numbers"] = "names",
    first_id: int = 0,
) -> Interactions | Released:
    """Read every path and number all of them together."""
    parts = roles(paths)
    everything = [rows(paths[name]) for name in parts]
    source = ", ".join(str(paths[name]) for name in parts)
    together = Interactions.of_rows(everything, ids=ids, first_id=first_id, source=source)
    return divide(together, dict(zip(parts, (len(part.frame) for part in everything), strict=True)))


def roles(paths: Mapping[str, Path]) -> tuple[str, ...]:
    """The names of the paths, in the order of NAMES.

    Raises:
        InputError: they are neither "interactions" nor "train" and "test" with or without "valid".
    """
    given = tuple(name for name in NAMES if name in paths)
    if len(given) != len(paths) or given not in (NAMES[:1], NAMES[1:], ("train", "test")):
        raise InputError(
            f"path: give one file, or a file for each part (train, test and, if there is one, valid); "
            f"got {', '.join(map(str, paths)) or 'none'}"
        )
    return given


def divide(together: Interactions, sizes: Mapping[str, int]) -> Interactions | Released:
    """Cut joined files apart again."""
    if list(sizes) == ["interactions"]:
        return together
    import torch

    positions = torch.arange(len(together)).split(list(sizes.values()))
    return Released(**{name: together.take(rows) for name, rows in zip(sizes, positions, strict=True)})


def read_parquet(path: Path, wanted: Mapping[str, str | None]) -> pd.DataFrame:
    """The wanted columns of a Parquet file, or all of them if one is not there."""
    demand_content(path)
    try:
        from pyarrow import parquet

        there = set(parquet.read_schema(path).names)
        names = [name for name in wanted.values() if name is not None]
        return pd.read_parquet(path, columns=names if there.issuperset(names) else None)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error}); write the file again") from error
