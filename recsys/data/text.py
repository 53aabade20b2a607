"""Text files with cells in columns, and a sentence for whatever keeps them from being read."""

import csv
import json
import lzma
import re
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from graphcl.errors import InputError
from recsys.data.raw import Rows, columns_of

SEPARATORS = ("\t", "::", ";", "|", ",", " ")
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What a file that is damaged, or is not compressed as its name says, raises."""


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
    first = tuple(first_row(path, separator, encoding, quoted=quoted))
    if columns and [cell.lower() for cell in first] == [name.lower() for name in columns]:
        raise InputError(
            f"{path}: its first line is the names of its columns; leave out 'columns', which is for files without them"
        )
    header = columns or first
    if strip_types:
        header = tuple(name.partition(":")[0] for name in header)
    try:
        columns_of(pd.DataFrame(columns=list(header)), wanted, str(path))
    except InputError as error:
        raise InputError(f"{error}{'' if columns else header_advice(header)}") from None
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"{path}: the column {name!r} occurs {header.count(name)} times; rename all but one")
    types = {name: "category" for name in header if name not in (wanted.get("time"), wanted.get("value"))}
    frame = read_cells(path, separator, header, types, headed=columns is None, encoding=encoding, quoted=quoted)
    if frame.empty:
        raise InputError(f"{path}: has a header but no rows; give at least one interaction")
    return Rows(columns_of(frame, wanted, str(path)), lambda row: f"{path}, row {row + 1}")


def header_advice(header: tuple[str, ...]) -> str:
    """What may have gone wrong where the wanted columns are not in a header; "" if it looks like one."""
    other = next((mark for mark in SEPARATORS if len(header) == 1 and mark in header[0]), None)
    if other is not None:
        return f"; if {other!r} stands between its columns, say so (separator: {json.dumps(other)})"
    if any(cell.replace(".", "", 1).lstrip("-").isdigit() for cell in header):
        return "; if the file has no header, name its columns in their order (columns: [user, item, ...])"
    return ""


def read_cells(
    path: Path,
    separator: str,
    header: tuple[str, ...],
    types: Mapping[Any, Any],
    *,
    headed: bool,
    encoding: str = "utf-8",
    quoted: bool = False,
    blanks: bool = True,
) -> pd.DataFrame:
    """The cells of a text file under the names `header`; a column without a type in `types` is inferred.

    blanks: whether NA, null and the like mean that nothing is there; an empty cell is "" where they do not.
    """
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
                sep=separator[0] if len(separator) == width else re.escape(separator),
                header=0 if headed else None,  # counts lines as `first_row` does, without blank ones
                names=names,
                dtype=types,
                encoding=encoding,
                quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
                keep_default_na=blanks,
                index_col=False,
                engine="c" if len(separator) == width else "python",  # which takes it for a regular expression
            )
    except UnicodeDecodeError:
        raise InputError(bad_byte(path, encoding)) from None
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read to its end ({error}); download or write it again") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        cause = "rows have more cells than that" if isinstance(error, pd.errors.ParserWarning) else plain(error)
        advice = f"quote cells that hold {separator!r}, or correct" if quoted else "correct"
        raise InputError(
            f"{path}: every line needs the {len(header)} columns {', '.join(header)} ({cause}); {advice} the line"
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
            sep=separator if len(separator) == 1 else re.escape(separator),
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
    except UNREADABLE as error:
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
    if path.suffix in (".zip", ".tar"):
        raise InputError(f"{path}: is an archive; unpack it and name the file in it")


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
