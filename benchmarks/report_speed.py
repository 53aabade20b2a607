"""The speed report: everything that `python -m benchmarks.speed` and its kin have measured, on one page."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import has
from benchmarks.report_document import Document, Grid, Part, Section, markdown, page, write
from graphcl.errors import InputError

log = logging.getLogger(__name__)

NAME = "speed"
"""What the report is called on the command line, among the tables."""

TITLES: Mapping[str, str] = {
    "dccf": "A step of DCCF",
    "dccf_gpu": "A step of DCCF on a GPU",
    "metapath": "MEOW and AdaMEOW",
    "ops": "Sparse products",
    "recbole": "Beside RecBole",
    "scaling": "How a step of DCCF grows",
    "sequence": "Sequence models beside their authors' way",
}
"""Headings of the measurements; one without is headed by its name."""


def write_speed_report(results: Path) -> list[Path]:
    """Write `speed.md` and `speed.html` from the measurements `speed_*.json` in a folder; returns the files.

    Raises:
        InputError: there is no measurement, or one is damaged.
    """
    sources = sorted(results.glob("speed_*.json"))
    if not sources:
        raise InputError(f"{results}: has no measurement speed_*.json; make one with python -m benchmarks.speed")
    names = [path.stem.removeprefix("speed_") for path in sources]
    sections = [
        Section(TITLES.get(name, name), list(parts(read(path)))) for name, path in zip(names, sources, strict=True)
    ]
    lead = "Measured by python -m benchmarks.speed and its kin; ratios within one run count, because machines differ."
    document = Document("Speed and memory", lead, sections)
    return write(results / NAME, md=markdown(document), html=page(document))


def read(path: Path) -> dict[str, Any]:
    """The tree of a measurement."""
    try:
        tree = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is no readable measurement ({error}); measure again") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path}: is no measurement, it holds {type(tree).__name__}; measure again")
    tables, environment = tree.get("tables"), tree.get("environment")
    if not isinstance(tables, list) or not all(has(table, "rows", "title") for table in tables):
        raise InputError(f"{path}: is no measurement, it has no tables; measure again")
    if not all(isinstance(table["rows"], list) and all(map(has, table["rows"])) for table in tables):
        raise InputError(f"{path}: is no measurement, a table of it has no rows; measure again")
    if environment and not (
        has(environment, "machine", "packages", "commit", "started")
        and has(environment["machine"], "processor", "cores")
        and has(environment["packages"], "torch")
    ):
        raise InputError(f"{path}: does not say on what machine it was made; measure again")
    if environment and str(environment["commit"]).endswith("-dirty"):
        log.warning("%s: no commit has the code that was measured; measure again", path.name)
    return tree


def parts(tree: Mapping[str, Any]) -> Iterator[Part]:
    """A note, the tables, the machine."""
    if note := tree.get("note"):
        yield note
    for table in tree["tables"]:
        yield grid(table["rows"], table["title"])
    if environment := tree.get("environment"):
        machine = environment["machine"]
        yield (
            f"{machine['processor']}, {machine['cores']} cores, GPU {machine.get('gpu') or 'none'}; "
            f"torch {environment['packages']['torch']}; commit {environment['commit']}; {environment['started'][:10]}."
        )


def grid(rows: Sequence[Mapping[str, Any]], caption: str) -> Grid:
    """Rows of equal or different keys as one table; nested keys are joined."""
    flat = [flattened(row) for row in rows]
    header = tuple(dict.fromkeys(key for row in flat for key in row))
    words = {
        column for column, key in enumerate(header) if any(isinstance(row.get(key), str) for row in flat) or column == 0
    }
    cells = tuple(tuple(shown(row.get(key)) for key in header) for row in flat)
    return Grid(header, cells, caption, text=frozenset(words))


def flattened(row: Mapping[str, Any]) -> dict[str, Any]:
    """{a: {b: 1}} -> {"a b": 1}"""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"{key} {inner}": part for inner, part in flattened(value).items()}
        else:
            flat[key.replace("_", " ")] = value
    return flat


def shown(value: Any) -> str:
    """Numbers with four digits; nothing for nothing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
