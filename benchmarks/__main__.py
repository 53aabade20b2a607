"""`python -m benchmarks`: a thin command line, one subcommand per measurement."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks import conformance as conformance_

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Measurements of graphcl and recsys.")


@app.callback()
def _root() -> None:
    """Keep subcommands named even while there is one."""


@app.command()
def conformance(
    files: Annotated[list[Path], typer.Argument(help="golden files, .npz", metavar="FILE...")],
) -> None:
    """Recompute golden vectors of published code and compare values and gradients in float64 and float32."""
    raise typer.Exit(conformance_.main(files))


if __name__ == "__main__":
    app()
