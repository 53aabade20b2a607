"""From columns of raw ids to numbered interactions, and a sentence for each thing that can be wrong with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from graphcl.errors import InputError, suggest

LARGEST_NUMBER = 2**31 - 2
"""Ids that are numbers must stay below: tables of one row per id would not fit any memory."""
NOTHING = "empty, or a word that stands for nothing: NA, NaN, None, null"
WASTE = 100
"""How many unused numbers per row are still taken for cold users or items rather than for raw ids."""

Place = Callable[[int], str]
"""Where a row (0-based) came from, in words: "ratings.csv, row 5"."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one source, still with raw ids."""

    frame: pd.DataFrame
    """Columns user, item and, where the source has them, time and value."""
    place: Place = field(default=lambda row: f"row {row + 1}")


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """Rows with numbers 0..n-1 in place of raw ids, and the raw ids by number."""

    user: Tensor
    item: Tensor
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    time: Tensor | None
    value: Tensor | None
    sizes: tuple[int, ...]
    """How many rows each source had."""


def number_rows(
    sources: Sequence[Rows], *, ids: Literal["names", "numbers"] = "names", first_id: int = 0, source: str = "the data"
) -> Numbered:
    """Number the users and items of all `sources` together.

    ids: "names" are numbered in ascending order (by value where all are whole numbers, else alphabetically);
        "numbers" are kept, less `first_id`.

    Raises:
        InputError: no rows; an id is missing, negative, broken or absurdly large; a time or value is not a number.
    """
    sizes = tuple(len(rows.frame) for rows in sources)
    if not sum(sizes):
        raise InputError(f"{source}: holds no interactions; give at least one row of a user and an item")

    def place(row: int) -> str:
        which = int(np.searchsorted(np.cumsum(sizes), row, side="right"))
        return sources[which].place(row - sum(sizes[:which]))

    def column(name: str) -> pd.Series:
        return join([rows.frame[name] for rows in sources])

    index = (
        (lambda c, role: number(c, role, place, first_id))
        if ids == "numbers"
        else (lambda c, role: name_ids(c, role, place))
    )
    (user, user_ids), (item, item_ids) = index(column("user"), "user"), index(column("item"), "item")
    extra = {}
    for name in ("time", "value"):
        there = [name in rows.frame for rows in sources]
        if any(there) and not all(there):
            raise InputError(f"{source}: only {sum(there)} of these files have a {name}; take files that all have one")
        extra[name] = measurements(column(name), name, place) if all(there) else None
    return Numbered(
        user=user,
        item=item,
        user_ids=user_ids,
        item_ids=item_ids,
        time=extra["time"],
        value=extra["value"],
        sizes=sizes,
    )


def join(columns: Sequence["pd.Series[Any]"]) -> "pd.Series[Any]":
    """One column after another; categories are united, not spelt out."""
    if len(columns) == 1:
        return columns[0].reset_index(drop=True)
    if all(isinstance(column.dtype, pd.CategoricalDtype) for column in columns):
        return pd.Series(pd.api.types.union_categoricals([column.array for column in columns]))
    return pd.concat(list(columns), ignore_index=True)


def name_ids(column: "pd.Series[Any]", role: str, place: Place) -> tuple[Tensor, tuple[str, ...]]:
    """([n] numbers, their names): names in ascending order, so that the order of the rows does not matter."""
    column = whole_numbers(column, role, place)
    try:
        codes, uniques = pd.factorize(column)
    except TypeError as error:
        raise InputError(
            f"{place(0)}: the {role} column holds no names or numbers ({error}); give one id a row"
        ) from error
    refuse_rows(
        codes < 0,
        place,
        f"the {role} id is missing ({NOTHING}); fill it in or delete the row",
    )
    names = pd.Index(uniques).astype(str)
    if not names.is_unique:  # 1 and "1" in one column are one name
        merged, names = pd.factorize(names)
        codes = merged[codes]
    if bool(names.str.fullmatch(r"[+-]?\d+").all()):
        refuse_rows(
            (names.str.startswith("-") & names.str.contains("[1-9]"))[codes],
            place,
            f"the {role} id {{value}} is negative; use ids from 0 up, or names that are not numbers",
            column,
        )
        # whole numbers of any size in the order of their values: by length without zeros in front, then as text
        digits = names.str.lstrip("+-0")
        order = np.lexsort((names.to_numpy(dtype=str), digits.to_numpy(dtype=str), digits.str.len()))
    else:
        order = np.argsort(names.to_numpy(dtype=object), kind="stable")  # one long name must not widen all of them
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return torch.from_numpy(rank[codes]), tuple(names[order])


def number(column: "pd.Series[Any]", role: str, place: Place, first_id: int = 0) -> tuple[Tensor, tuple[str, ...]]:
    """([n] the ids less `first_id`, the names "first_id", ...): ids that are numbers already are kept."""
    values = column.to_numpy()
    if not np.issubdtype(values.dtype, np.integer):
        text = column.astype(str)
        wrong = ~text.str.fullmatch(r"[+-]?\d{1,18}").to_numpy(dtype=bool)
        refuse_rows(wrong, place, f"the {role} id {{value}} is not a whole number of at most 18 digits", column)
        values = text.to_numpy(dtype=str).astype(np.int64)
    codes = values.astype(np.int64) - first_id
    refuse_rows(codes < 0, place, f"the {role} id {{value}} is too small; ids start at {first_id} here", column)
    limit = min(LARGEST_NUMBER, 10_000 + WASTE * len(codes))
    refuse_rows(
        codes > limit,
        place,
        f"the {role} id {{value}} is far above the number of rows ({len(codes):,}), and there would be a row for each "
        f"smaller id too; let the reader renumber them (ids: names)",
        column,
    )
    return torch.from_numpy(codes), tuple(str(i + first_id) for i in range(int(codes.max()) + 1))


def whole_numbers(column: "pd.Series[Any]", role: str, place: Place) -> "pd.Series[Any]":
    """Ids that pandas holds as floats, such as 12.0, as integers again."""
    if not pd.api.types.is_float_dtype(column.dtype):
        return column
    values = column.to_numpy(dtype=np.float64)
    refuse_rows(
        np.isnan(values),
        place,
        f"the {role} id is missing ({NOTHING}); fill it in or delete the row",
    )
    refuse_rows(
        values != np.floor(values), place, f"the {role} id {{value}} is not whole; ids are names or integers", column
    )
    refuse_rows(
        np.abs(values) >= 2**53,
        place,
        f"the {role} id {{value}} is too large for a float, which loses digits; read the column as text or int64",
        column,
    )
    return pd.Series(values.astype(np.int64))


def measurements(column: "pd.Series[Any]", name: str, place: Place) -> Tensor:
    """A time (int64 or float64; dates become seconds since 1970) or a value (float64)."""
    column = dated(column, place) if name == "time" else column
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        refuse_rows(column.isna().to_numpy(), place, f"the {name} is missing; fill it in or delete the row")
        dates = pd.DatetimeIndex(column)
        per_second = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[dates.unit]  # nanoseconds end in the year 2262
        return torch.from_numpy(dates.asi8 / per_second)
    numbers = pd.to_numeric(
        column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column, "coerce"
    )
    values = numbers.to_numpy()
    if name == "value" or not np.issubdtype(values.dtype, np.integer):
        values = numbers.to_numpy(dtype=np.float64)
        refuse_rows(
            ~np.isfinite(values),
            place,
            f"the {name} {{value}} is not a finite number{' or a date such as 2020-12-31' if name == 'time' else ''}; "
            f"mend or delete the row",
            column,
        )
        return torch.from_numpy(values.copy())
    return torch.from_numpy(values.astype(np.int64))


def dated(column: "pd.Series[Any]", place: Place) -> "pd.Series[Any]":
    """A column of dates that are written out (2020-12-31 23:59:59, as ISO 8601 has it) as dates; others as they are."""
    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return column
    words = column.astype(object)
    dates = pd.to_datetime(words, format="ISO8601", errors="coerce", utc=True)
    if pd.to_numeric(words, "coerce").notna().any() or not dates.notna().any():
        return column
    refuse_rows(
        dates.isna().to_numpy(), place, "the time {value} is no date such as 2020-12-31; mend or delete the row", column
    )
    return dates


def refuse_rows(
    wrong: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    place: Place,
    sentence: str,
    column: "pd.Series[Any] | None" = None,
) -> None:
    """Raise `InputError` at the first row of `wrong`; `{value}` in the sentence is what stands there."""
    if not wrong.any():
        return
    row, count = int(np.argmax(wrong)), int(wrong.sum())
    value = "" if column is None else repr(str(column.iloc[row]))
    more = f" ({count - 1:,} more rows like it)" if count > 1 else ""
    raise InputError(f"{place(row)}: {sentence.replace('{value}', value)}{more}")


def columns_of(frame: pd.DataFrame, wanted: Mapping[str, str | None], source: str) -> pd.DataFrame:
    """The wanted columns of `frame`, {role: its name there or None}, under the names of their roles.

    Raises:
        InputError: a column is not there (the nearest name is suggested), or occurs twice.
    """
    chosen = {}
    for role, name in wanted.items():
        if name is None:
            continue
        count = int((frame.columns == name).sum())
        if count != 1:
            there = [str(column) for column in frame.columns]
            near = suggest(name, there, quiet=True) or f"; it has {', '.join(there)}"
            problem = f"occurs {count} times; rename all but one" if count else f"is not there{near}"
            raise InputError(f"{source}: the {role} column {name!r} {problem}")
        chosen[role] = frame[name]
    return pd.DataFrame(chosen)
