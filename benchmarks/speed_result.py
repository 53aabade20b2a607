"""How a speed measurement is shown and kept: tables on the terminal, and the same as JSON in a folder.

`python -m benchmarks report speed` makes a page of all that lie in `results/`.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from graphcl.training.checkpoint import make_folder, write_atomically
from recsys.console import console
from recsys.folder import environment

Out = Annotated[Path | None, typer.Option(file_okay=False, help="a folder that gets speed_NAME.json")]


@dataclass(frozen=True)
class Measured:
    """A table of raw values; the first column names the row."""

    title: str
    columns: Mapping[str, str]
    """Column -> how its numbers are shown, such as ".2f"."""
    rows: Sequence[Sequence[Any]]

    def cells(self) -> list[list[str]]:
        """What is shown; an absent value is empty."""
        shown = [zip(row, self.columns.values(), strict=True) for row in self.rows]
        return [["" if value is None else format(value, how) for value, how in row] for row in shown]


def publish(name: str, tables: Sequence[Measured], note: str, out: Path | None) -> None:
    """Print `tables` and, where `out` is given, write them to `speed_<name>.json` with the environment.

    note: a sentence on what was measured and how.
    """
    console.print(note, highlight=False)
    for table in tables:
        console.print(drawn(table))
    if out is None:
        return
    make_folder(out)
    kept = {key: value for key, value in environment({}).items() if key not in ("command", "data")}
    kept["machine"]["processor"] = processor()
    content = {
        "note": note,
        "tables": [
            {"title": table.title, "rows": [dict(zip(table.columns, row, strict=True)) for row in table.rows]}
            for table in tables
        ],
        "environment": kept,
    }
    write_atomically(out / f"speed_{name}.json", (json.dumps(content, indent=1) + "\n").encode())


def drawn(table: Measured) -> Table:
    """For the terminal."""
    drawing = Table(title=table.title, title_justify="left")
    for number, column in enumerate(table.columns):
        drawing.add_column(column, justify="right" if number else "left")
    for row in table.cells():
        drawing.add_row(*row)
    return drawing


def processor() -> str:
    """The name of the CPU where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
