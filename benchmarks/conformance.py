"""Does the library compute what the published code computes? Golden vectors, case by case, value and gradient.

A golden file is an `.npz` without pickles. Its layout is recognised from the names it holds; each layout is one module
beside this one, registered in `LAYOUTS`. A layout turns an archive into cases, a case computes named results in a given
precision through the public API of the library, and this file compares, reports and decides.

To add a layout, write `conformance_<name>.py` with a subclass-free object that has the two methods of `Layout`, and
add a line to `LAYOUTS`:

    def recognises(names):  return "cfg_n_intents" in names
    def cases(archive):     yield Case("bpr", lambda dtype: [Check("loss", archive["out_bpr"], loss(archive, dtype))])

Whatever goes wrong in `cases` or in a case (an array is missing, a shape does not fit, JSON is broken, a number is NaN)
counts as a failure of that case; raise freely.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
"""Largest absolute difference accepted; in float32 times the array's largest golden value where that is above 1."""


class Archive(Mapping[str, Array]):
    """The arrays of a golden file; a missing one is an error that names it."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays

    def __getitem__(self, name: str) -> Array:
        if name not in self.arrays:
            raise KeyError(f"the file holds no array {name!r}")
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object stored as a string."""
        value = json.loads(str(self[name]))
        if not isinstance(value, dict):
            raise ValueError(f"{name} is not a JSON object")
        return value

    def tensor(self, name: str, dtype: torch.dtype) -> Tensor:
        """An array as a tensor: floating point in `dtype`, integers as int64, bool as bool."""
        value = torch.from_numpy(np.array(self[name]))
        return value.to(dtype) if value.is_floating_point() else value.long() if value.dtype != torch.bool else value


@dataclass(frozen=True)
class Check:
    """One number or array to compare."""

    name: str
    """such as "loss" or "grad_x"; names that begin with "grad" are reported as gradients"""
    expected: Array
    actual: Tensor | Array
    tolerance: Mapping[torch.dtype, float] = field(default_factory=lambda: TOLERANCE)
    """only for quantities whose conditioning makes the common bar meaningless; say why where it is used"""


@dataclass(frozen=True)
class Case:
    """One computation of the golden file."""

    name: str
    run: Callable[[torch.dtype], Iterable[Check]] | None
    """computes in the given precision and says what it should equal; None where the library does not implement it"""
    exact: bool = False
    """integers or sets: compared once, in float64 only"""


class Layout(Protocol):
    """A kind of golden file; a module with these two functions is one."""

    def recognises(self, names: Collection[str], /) -> bool:
        """Whether a file that holds arrays of these names is of this layout."""
        ...

    def cases(self, archive: Archive, /) -> Iterable[Case]:
        """Every case of the file, implemented or not."""
        ...


@dataclass
class Outcome:
    """What became of one case."""

    name: str
    differences: dict[tuple[torch.dtype, str], float] = field(default_factory=dict)
    """largest absolute difference, by precision and "value" or "gradient" """
    failure: str | None = None
    covered: bool = True


def layouts() -> dict[str, Layout]:
    """The layouts that are known, in the order in which they are tried."""
    from benchmarks import (
        conformance_dccf,
        conformance_icsrec,
        conformance_losses,
        conformance_mclrec,
        conformance_meow,
    )

    return {
        "losses": conformance_losses,
        "meow": conformance_meow,
        "dccf": conformance_dccf,
        "icsrec": conformance_icsrec,
        "mclrec": conformance_mclrec,
    }


def read(path: Path) -> Archive:
    """Read every array of a golden file."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return Archive(arrays)


def recognise(archive: Archive) -> tuple[str, Layout]:
    """The layout of a file."""
    names = set(archive)
    for name, layout in layouts().items():
        if layout.recognises(names):
            return name, layout
    raise ValueError(f"no known layout ({', '.join(layouts())}) has arrays such as {', '.join(sorted(names)[:3])}")


def difference(check: Check) -> float:
    """Largest absolute difference."""
    expected, actual = np.asarray(check.expected), _numpy(check.actual)
    if expected.shape != actual.shape:
        raise ValueError(f"{check.name} has shape {list(expected.shape)} in the file, {list(actual.shape)} computed")
    expected, actual = expected.astype(np.float64), actual.astype(np.float64)
    if not np.isfinite(expected).all():
        raise ValueError(f"{check.name} holds NaN or infinity in the file")
    if not np.isfinite(actual).all():
        raise ValueError(f"{check.name} is computed as NaN or infinity")
    return float(np.abs(expected - actual).max(initial=0.0))


def bar(check: Check, dtype: torch.dtype) -> float:
    """The largest difference that passes."""
    scale = np.abs(check.expected).max(initial=1.0) if dtype == torch.float32 else 1.0
    return check.tolerance[dtype] * float(scale)


def _numpy(values: Tensor | Array) -> Array:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def judge(case: Case) -> Outcome:
    """Run one case in both precisions."""
    outcome = Outcome(case.name, covered=case.run is not None)
    if case.run is None:
        return outcome
    for dtype in (torch.float64,) if case.exact else TOLERANCE:
        try:
            for check in case.run(dtype):
                found = difference(check)
                key = (dtype, "gradient" if check.name.startswith("grad") else "value")
                outcome.differences[key] = max(found, outcome.differences.get(key, 0.0))
                if not found <= bar(check, dtype) and outcome.failure is None:
                    outcome.failure = f"{check.name} is off by {found:.1e} in {str(dtype).removeprefix('torch.')}"
        except Exception as error:  # a broken file can break a case anywhere, and the others still have to be judged
            outcome.failure = outcome.failure or f"{type(error).__name__}: {error}".splitlines()[0]
    if not outcome.differences and outcome.failure is None:
        outcome.failure = "nothing was compared"
    return outcome


def check_file(path: Path, console: Console) -> bool:
    """Judge one file, print its table, and say whether everything covered holds."""
    try:
        archive = read(path)
        name, layout = recognise(archive)
        outcomes = [judge(case) for case in layout.cases(archive)]
    except Exception as error:  # a damaged archive fails in many ways: zip, zlib, numpy headers, JSON, missing names
        console.print(f"[red]{path}[/]: not a golden file that can be read: {error}", soft_wrap=True)
        return False
    covered = [outcome for outcome in outcomes if outcome.covered]
    failed = [outcome for outcome in covered if outcome.failure]
    console.print(_table(f"{path.name} (layout {name})", covered))
    missing = [outcome.name for outcome in outcomes if not outcome.covered]
    if missing:
        console.print(f"not implemented ({len(missing)}): {', '.join(missing)}", soft_wrap=True)
    if not covered:
        console.print("[red]no case of this file is covered[/]")
        return False
    console.print(f"{len(covered) - len(failed)} of {len(covered)} covered cases agree\n")
    return not failed


def main(paths: Sequence[Path]) -> int:
    """Judge files; 0 if everything covered holds in every one of them, else 1."""
    console = Console(width=140 if not Console().is_terminal else None)
    held = [check_file(path, console) for path in paths]
    return 0 if held and all(held) else 1


def _table(title: str, outcomes: Sequence[Outcome]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("case")
    for dtype in TOLERANCE:
        for kind in ("value", "gradient"):
            table.add_column(f"{kind} {str(dtype).removeprefix('torch.')}", justify="right")
    table.add_column("verdict")
    for outcome in outcomes:
        found = [outcome.differences.get((dtype, kind)) for dtype in TOLERANCE for kind in ("value", "gradient")]
        cells = ["" if value is None else f"{value:.1e}" for value in found]
        verdict = "[green]ok[/]" if outcome.failure is None else f"[red]{outcome.failure}[/]"
        table.add_row(outcome.name, *cells, verdict)
    return table
