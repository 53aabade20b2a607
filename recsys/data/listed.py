"""Text with one user a line: LightGCN's format (numbers) and S3Rec's (a history in the order of time)."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from graphcl.errors import InputError
from recsys.data.interactions import Interactions, Released
from recsys.data.raw import Rows
from recsys.data.tabular import combine
from recsys.data.text import demand_content

BLOCK = 1 << 24
"""Bytes of text that are parsed at a time."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LightgcnText:
    """One user a line: `user item item ...`, numbers separated by blanks; a user may have no item."""

    kind: ClassVar[str] = "lightgcn_text"

    ids: Literal["names", "numbers"] = "numbers"
    """Whether ids are kept (numbers), as published splits do, or renumbered (names)."""
    first_id: int = 0
    """The smallest id, where ids are kept."""
    sort: tuple[str, ...] = ()
    """Parts that are put in ascending order of user and item: for splits of which another copy lost the order."""

    def read(self, paths: Mapping[str, Path]) -> Interactions | Released:
        """The interactions of {"interactions": path}, or the parts of {"train", "test" and maybe "valid": path}."""
        for part in self.sort:
            if part not in paths:
                raise InputError(f"reader.sort: there is no part {part!r}; the parts are {', '.join(paths)}")
        ordered = {paths[part] for part in self.sort}

        def rows(path: Path) -> Rows:
            return ascending(read_lists(path)) if path in ordered else read_lists(path)

        return combine(paths, rows, ids=self.ids, first_id=self.first_id)


@dataclass(frozen=True, kw_only=True)
class S3recText:
    """One user a line: `user item item ...`, the items in the order of time."""

    kind: ClassVar[str] = "s3rec_text"

    def read(self, paths: Mapping[str, Path]) -> Interactions | Released:
        """The interactions of {"interactions": path}, or the parts of {"train", "test" and maybe "valid": path}."""
        return combine(paths, read_lists)


def ascending(rows: Rows) -> Rows:
    """The rows in the order of user and item."""
    frame = rows.frame.sort_values(["user", "item"], kind="stable")
    return Rows(frame.reset_index(drop=True), lambda row: rows.place(int(frame.index[row])))


def read_lists(path: Path) -> Rows:
    """The rows of a text with one user a line.

    Raises:
        InputError: the file is missing, empty, or has something other than numbers and blanks; the line is named.
    """
    demand_content(path)
    users, items, lines, line = [], [], [], 0
    for block in blocks(path):
        values, per_line = parse(block, path, line)
        starts = np.cumsum(per_line) - per_line
        filled = per_line > 0
        is_item = np.ones(len(values), dtype=bool)
        is_item[starts[filled]] = False
        users.append(np.repeat(values[starts[filled]], per_line[filled] - 1))
        items.append(values[is_item])
        lines.append(np.repeat(np.flatnonzero(filled) + line, per_line[filled] - 1))
        line += len(per_line)
    number = np.concatenate([np.zeros(0, dtype=np.int64), *lines])
    if not len(number):
        raise InputError(f"{path}: no line has a user and an item; write 'user item item ...', one user a line")
    frame = pd.DataFrame({"user": np.concatenate(users), "item": np.concatenate(items)})
    return Rows(frame, lambda row: f"{path}, line {number[row] + 1}")


def blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a text, some whole lines at a time."""
    rest = b""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while block := file.read(BLOCK):
                head, newline, tail = block.rpartition(b"\n")
                if newline:
                    yield rest + head + newline
                    rest = tail
                else:
                    rest += block
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read to its end ({error}); download or write it again") from error
    if rest:
        yield rest


def parse(block: bytes, path: Path, line: int) -> tuple[Numbers, Numbers]:
    """([t] every number of the block, [lines] how many stand on each line); `line` is the number of lines before."""
    text = np.frombuffer(block, dtype=np.uint8)
    newline = text == ord("\n")
    digit = (text >= ord("0")) & (text <= ord("9"))
    minus = text == ord("-")
    wrong = ~(digit | minus | newline | (text == ord(" ")) | (text == ord("\t")) | (text == ord("\r")))
    token = digit | minus
    start = np.flatnonzero(token & ~np.concatenate([[False], token[:-1]]))
    stop = np.flatnonzero(token & ~np.concatenate([token[1:], [False]])) + 1
    negative = minus[start] if len(start) else np.zeros(0, dtype=bool)
    inside = minus.copy()
    inside[start] = False

    def refuse(position: int, sentence: str) -> None:
        at = line + int(newline[:position].sum()) + 1
        raise InputError(f"{path}, line {at}: {sentence}")

    if wrong.any():
        byte = int(np.argmax(wrong))
        shown = repr(chr(text[byte])) if text[byte] < 128 else f"byte 0x{text[byte]:02x}, which is not ASCII,"
        refuse(byte, f"{shown} is no part of a number; each line is 'user item item ...' in whole numbers")
    if inside.any() or (negative & (stop - start == 1)).any():
        byte = int(np.argmax(inside)) if inside.any() else int(start[np.argmax(negative & (stop - start == 1))])
        refuse(byte, "'-' does not begin a number; each line is 'user item item ...' in whole numbers")
    if (stop - start > 18).any():
        first = int(np.argmax(stop - start > 18))
        refuse(
            int(start[first]), f"the id {block[start[first] : stop[first]].decode()} is too large; use ids below 10^18"
        )
    place = np.repeat(stop, stop - start) - np.flatnonzero(token) - 1
    digits = np.where(minus[token], 0, text[token].astype(np.int64) - ord("0")) * 10**place
    ends = np.concatenate([[0], np.cumsum(stop - start)[:-1]]) if len(start) else start
    values = np.add.reduceat(digits, ends) if len(start) else np.zeros(0, dtype=np.int64)
    values[negative] *= -1
    breaks = np.flatnonzero(newline)
    edges = np.concatenate([[0], np.searchsorted(start, breaks), [len(start)]])
    per_line = np.diff(edges)
    return values, per_line if len(text) and not newline[-1] else per_line[:-1]
