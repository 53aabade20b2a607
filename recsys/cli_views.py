"""`recsys views`: what a view of the user-item graph keeps, loses and weighs, in numbers and in a picture."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from graphcl.errors import InputError
from recsys.console import console
from recsys.view_diagnosis import diagnose
from recsys.view_picture import draw

FORMATS = ("svg", "png")


def views(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="a YAML file: dataset and views; see docs/views.md")],
    out: Annotated[Path, typer.Option(help="the folder that gets the picture")] = Path("runs/views"),
    image: Annotated[str, typer.Option("--format", help="svg or png")] = "svg",
) -> None:
    """Diagnose the views of CONFIG on the graph of its data set, and draw them."""
    if image not in FORMATS:
        raise InputError(f"--format: {image!r} is neither svg nor png")
    found = diagnose(config)
    console.print(found.title, highlight=False)
    for title, rows in found.tables.items():
        table = Table(title=title, title_justify="left")
        some = "" if rows[0].draws == found.settings.draws else f" of {found.settings.draws}"
        for column in ("", "graph", f"view, mean of {rows[0].draws}{some}", "sd"):
            table.add_column(column, justify="right" if column else "left")
        for row in rows:
            table.add_row(row.name, number(row.before), number(row.mean), number(row.sd))
        console.print(table)
    path = out / f"{config.stem}.{image}"
    draw(found, path)
    console.print(f"Picture: {path}", soft_wrap=True)


def number(value: float | None) -> str:
    """Whole numbers whole, others with four digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
