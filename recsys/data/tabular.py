"""Tables with named columns: CSV, TSV, Parquet, and RecBole's atomic files."""

import codecs
import csv
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd

from graphcl.errors import InputError
from recsys.data.attributes import Attributes, Words
from recsys.data.interactions import Interactions, Released
from recsys.data.raw import Rows, columns_of

NAMES = ("interactions", "train", "valid", "test")
"""What a path may be called: one file with everything, or one file per part."""


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
            codecs.lookup(self.encoding)
        except LookupError:
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
        return read_text(path, separator, self.columns, wanted, encoding=self.encoding, quoted=separator == ",")


@dataclass(frozen=True, kw_only=True)
class RecboleAtomic:
    """RecBole's `.inter` file: tab-separated, a header of `name:type`; with its `.user` and `.item` files, if given."""

    kind: ClassVar[str] = "recbole_atomic"

    user: str = "user_id"
    """The field of user ids."""
    item: str = "item_id"
    """The field of item ids."""
    time: str | None = "timestamp"
    """The field of times, read in full precision; used if the file has it."""
    value: str | None = "rating"
    """The field of ratings; used if the file has it."""
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
        optional = {role: name for role, name in (("time", self.time), ("value", self.value)) if name in header}
        return read_text(path, "\t", None, {"user": self.user, "item": self.item, **optional}, strip_types=True)


def read_attributes(path: Path, wanted: Mapping[str, str]) -> dict[str, Words]:
    """RecBole's `.item` or `.user` file: the first field is the id, a `token_seq` field holds words between spaces.

    wanted: {name: field}; names whose field is not in this file are left out. {} takes every field.

    Raises:
        InputError: the file is missing or broken, or an id occurs twice.
    """
    header = [cell.partition(":") for cell in first_row(path, "\t")]
    names = tuple(name for name, _, _ in header)
    frame = read_cells(path, "\t", names, dict.fromkeys(names, str), headed=True)
    ids = frame[names[0]].astype(str)
    if ids.duplicated().any():
        raise InputError(f"{path}: the id {ids[ids.duplicated()].iloc[0]!r} occurs twice; ids must be unique")
    several = {name for name, _, kind in header if kind == "token_seq"}
    found: dict[str, Words] = {}
    for name, column in (wanted or dict(zip(names[1:], names[1:], strict=True))).items():
        if column in names[1:]:
            cells = frame[column].fillna("").astype(str)
            split = [tuple(cell.split()) if column in several else (cell,) if cell else () for cell in cells]
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


def read_text(
    path: Path,
    separator: str,
    columns: tuple[str, ...] | None,
    wanted: Mapping[str, str | None],
    *,
    encoding: str = "utf-8",
    quoted: bool = False,
    strip_types: bool = False,
) -> Rows:
    """The wanted columns of a text file; ids become categories of text, so that "007" stays "007"."""
    header = columns or tuple(first_row(path, separator, encoding, quoted=quoted))
    if strip_types:
        header = tuple(name.partition(":")[0] for name in header)
    columns_of(pd.DataFrame(columns=list(header)), wanted, str(path))
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"{path}: the column {name!r} occurs {header.count(name)} times; rename all but one")
    types = {name: "category" for name in header if name not in (wanted.get("time"), wanted.get("value"))}
    frame = read_cells(path, separator, header, types, headed=columns is None, encoding=encoding, quoted=quoted)
    if frame.empty:
        raise InputError(f"{path}: has a header but no rows; give at least one interaction")
    return Rows(columns_of(frame, wanted, str(path)), lambda row: f"{path}, row {row + 1}")


def read_cells(
    path: Path,
    separator: str,
    header: tuple[str, ...],
    types: Mapping[Any, Any],
    *,
    headed: bool,
    encoding: str = "utf-8",
    quoted: bool = False,
) -> pd.DataFrame:
    """The cells of a text file under the names `header`; a column without a type in `types` is inferred."""
    # pandas' fast parser takes one character; "::" is ":" with an empty column between
    width = len(separator) if len(set(separator)) == 1 else 1
    names = [name if position == 0 else f"{name} {position}" for name in header for position in range(width)]
    names = names[: len(names) - width + 1]
    demand_content(path)
    try:
        # every column is read, for with `usecols` pandas drops superfluous cells of a row without a word
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator[0] if width > 1 else separator,
                header=0 if headed else None,  # counts lines as `first_row` does, without blank ones
                names=names,
                dtype=types,
                encoding=encoding,
                quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
                index_col=False,
                engine="c" if len(separator) == width else "python",
            )
    except UnicodeDecodeError:
        raise InputError(bad_byte(path, encoding)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read to its end ({error}); download or write it again") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        cause = "rows have more cells than that" if isinstance(error, pd.errors.ParserWarning) else plain(error)
        raise InputError(
            f"{path}: every line needs the {len(header)} columns {', '.join(header)} ({cause}); quote cells that hold "
            f"{separator!r}, or correct the line"
        ) from error
    return frame[list(header)]


def first_row(path: Path, separator: str, encoding: str = "utf-8", *, quoted: bool = False) -> list[str]:
    """The cells of the first line.

    Raises:
        InputError: the file is missing, empty or not text.
    """
    demand_content(path)
    try:
        row = pd.read_csv(
            path,
            sep=separator,
            header=None,
            nrows=1,
            dtype=str,
            encoding=encoding,
            keep_default_na=False,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            engine="c" if len(separator) == 1 else "python",
        )
    except UnicodeDecodeError:
        raise InputError(bad_byte(path, encoding)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); download or write it again") from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: holds no header ({plain(error)}); write the names of the columns first") from error
    return [str(cell) for cell in row.iloc[0]]


def demand_content(path: Path) -> None:
    """Raise `InputError` unless `path` is a file with something in it."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; correct the path, which counts from {Path.cwd()}")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty; download or write it again")


def bad_byte(path: Path, encoding: str) -> str:
    """A sentence that names the first line which is not in the encoding."""
    import gzip

    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                return (
                    f"{path}, line {number}: byte 0x{line[error.start]:02x} is not {encoding.upper()}; save the file "
                    f"as UTF-8, or name its encoding (reader: encoding: latin-1)"
                )
    return f"{path}: is not {encoding.upper()} text; save it as UTF-8, or name its encoding"


def plain(error: Exception) -> str:
    """The message of a parser, without its jargon."""
    return str(error).strip().removeprefix("Error tokenizing data. ").removeprefix("C error: ")
