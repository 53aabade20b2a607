"""What every objective takes, tables of rows, checked in one place."""

from functools import reduce

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.ops import full_precision


def tables(*given: Tensor, least: int = 0, one_width: bool = True) -> list[Tensor]:
    """The tables [N, d] that were given, in full precision and of one type.

    Raises `InputError` where one is no table of floating point numbers, has fewer than `least` rows, or is of another
    width than the first (if `one_width`).
    """
    for table in given:
        if table.ndim != 2:
            raise InputError(f"An objective takes tables of rows, [N, d], but one has the shape {list(table.shape)}.")
        if not table.is_floating_point():
            raise InputError(f"An objective takes floating point numbers, not {table.dtype}; convert them first.")
        if len(table) < least:
            raise InputError(f"This objective needs at least {least} row{'s' if least > 1 else ''}, got {len(table)}.")
        if one_width and table.shape[1] != given[0].shape[1]:
            raise InputError(
                f"Rows that are compared must be of one width, but have {given[0].shape[1]} and {table.shape[1]} "
                f"features."
            )
    dtype = reduce(torch.promote_types, (table.dtype for table in map(full_precision, given)))
    return [table.to(dtype) for table in given]


def refuse_temperature(temperature: float | Tensor) -> None:
    """Raise `InputError` unless a temperature is above 0."""
    above = bool((temperature > 0).all()) if isinstance(temperature, Tensor) else temperature > 0
    if not above:
        raise InputError(f"temperature must be above 0, not {temperature}.")
