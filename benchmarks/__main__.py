"""`python -m benchmarks`: a thin command line, one subcommand per measurement."""

import logging
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column
from rich.table import Table as Grid

from benchmarks import metapath_run
from benchmarks.board import Board
from benchmarks.cell import run_cell
from benchmarks.home import Home
from benchmarks.metapath_report import values_beside
from benchmarks.metapath_report import verify as metapath_verdicts
from benchmarks.metapath_report import write_report as write_metapath_report
from benchmarks.report import write_report
from benchmarks.report_speed import NAME as SPEED
from benchmarks.report_speed import write_speed_report
from benchmarks.run import run_table
from benchmarks.summary import Summary
from benchmarks.tuning import tune_table
from benchmarks.verify import Verdict, count, told
from benchmarks.verify import verify as verdicts_on
from graphcl.errors import InputError, NotFiniteError
from recsys.console import console, stderr
from recsys.folder import device_of

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Measurements of graphcl and recsys.",
)


def usable(device: str) -> str:
    """A device that the cells can have."""
    device_of(device)
    return device


TableName = Annotated[str, typer.Argument(metavar="TABLE", help="a name from 'python -m benchmarks list'")]
SomeTable = Annotated[str | None, typer.Argument(metavar="[TABLE]", help="default: every table")]
Rows = Annotated[str, typer.Option(help="comma-separated; default: all that can be run")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda", callback=usable)]
Place = Annotated[Path, typer.Option(help="folder of tables, configs, results and runs", resolve_path=True)]
HERE = Home().root


def say(line: str) -> None:
    """One line of progress."""
    console.print(line, highlight=False, soft_wrap=True)


def named(table: str | None, home: Path) -> list[str]:
    """The tables of recommenders that are asked for: one, or all without a name."""
    if table in (SPEED, metapath_run.NAME):
        return []
    return [table] if table else Home(home).names()


def split(names: str) -> list[str]:
    """`a,b` -> [a, b].

    Raises:
        InputError: there are commas and no name.
    """
    found = [name.strip() for name in names.split(",") if name.strip()]
    if names.strip() and not found:
        raise InputError(f"--rows: {names!r} names no row; write a,b, or leave it out for all")
    return found


def recommenders(table: str, home: Path) -> Board:
    """A table that is run and tuned as those of recommenders are.

    Raises:
        InputError: there is no such table, or it is made in another way, which is named.
    """
    if table == SPEED:
        raise InputError(f"table {SPEED}: is measured by python -m benchmarks.speed NAME --out benchmarks/results")
    if table == metapath_run.NAME:
        raise InputError(f"table {table}: is not tuned; its rows are {Home(home).root / 'configs' / table}/ROW.yaml")
    return Board.load(table, Home(home))


@app.command("list")
def list_(home: Place = HERE) -> None:
    """List the tables: what each is on, how many rows and records it has."""
    grid = Grid(Column("table", no_wrap=True), "what", "rows", "records", "published values")
    problems = []
    for name in Home(home).names():
        try:
            board = Board.load(name, Home(home))
        except InputError as error:
            problems.append(str(error))
            continue
        records = len(list(board.home.results(name).glob("*.json")))
        values = {(row, metric, value) for row, metric, value, _ in board.table.values()}
        counts = (len(board.table.trained), records, len(values))
        grid.add_row(name, board.table.title, *map(str, counts))
    try:
        if nodes := metapath_run.load_rows(home):
            records = len(list(Home(home).results(metapath_run.NAME).glob("*.json")))
            counts = (len(nodes), records, values_beside(home, nodes))
            grid.add_row(metapath_run.NAME, "Heterogeneous graphs, linear probes", *map(str, counts))
    except InputError as error:
        problems.append(str(error))
    if measured := len(list((Home(home).root / "results").glob("speed_*.json"))):
        grid.add_row(SPEED, "Time and memory, by python -m benchmarks.speed and its kin", "", str(measured), "")
    console.print(grid)
    if problems:
        raise InputError("\n".join(problems))


@app.command()
def run(
    table: TableName,
    rows: Rows = "",
    seeds: Annotated[int | None, typer.Option(min=1, help="seeds per row; default: the table's")] = None,
    device: Device = "auto",
    jobs: Annotated[int, typer.Option(min=1, help="cells at a time")] = 1,
    home: Place = HERE,
) -> None:
    """Run the cells that have no record yet; interrupt it at any moment, the same command goes on."""
    if table == metapath_run.NAME:
        failed = metapath_run.run(home, split(rows), seeds, device=device, jobs=jobs, say=say)
    else:
        board = recommenders(table, home)
        failed = run_table(board, split(rows), seeds or board.table.seeds, device=device, jobs=jobs, say=say)
    if failed:
        raise InputError(f"table {table}: {len(failed)} cells failed, see above; the same command tries them again")


@app.command(hidden=True)
def cell(table: str, row: str, seed: int, device: Device = "auto", home: Place = HERE) -> None:
    """Run one cell; `run` starts one process of this each."""
    board = Board.load(table, Home(home))
    board.choose([row])
    run_cell(board, row, seed, device=device)


@app.command()
def tune(
    table: TableName,
    rows: Rows = "",
    trials: Annotated[int | None, typer.Option(min=1, help="trials per row; default: the table's")] = None,
    budget: Annotated[float, typer.Option(help="seconds per row after which no trial is started")] = math.inf,
    device: Device = "auto",
    home: Place = HERE,
) -> None:
    """Search hyper-parameters of every trained row, on validation, with the same number of trials for each."""
    tune_table(recommenders(table, home), split(rows), trials, budget=budget, device=device, say=say)


@app.command()
def report(table: SomeTable = None, home: Place = HERE) -> None:
    """Write the report of a table, or of all: Markdown, CSV, LaTeX, and a page with plots; `speed` is one, too."""
    results = Home(home).root / "results"
    measured = table == SPEED or (table is None and any(results.glob("speed_*.json")))
    work: list[Callable[[], Iterable[object]]] = [partial(write_speed_report, results)] if measured else []
    if table == metapath_run.NAME or (table is None and metapath_run.has_rows(home)):
        work.append(partial(write_metapath_report, home))
    work += [partial(report_on, name, home) for name in named(table, home)]
    say_one_by_one(work)


def report_on(name: str, home: Path) -> list[Path]:
    """Write the report of a table of recommenders."""
    return write_report(Board.load(name, Home(home)))


@app.command()
def verify(table: SomeTable = None, home: Place = HERE) -> None:
    """Say of each published value: reproduced, above, below, not comparable or not run, and why.

    The status is 0 whatever the verdicts are; it is 1 where records are damaged or of another split.
    """
    if table == SPEED:
        raise InputError(f"table {SPEED}: nobody has published such values; ask for its report")
    work: list[Callable[[], Iterable[object]]] = [partial(lines_on, name, home) for name in named(table, home)]
    if table == metapath_run.NAME or (table is None and metapath_run.has_rows(home)):
        work.append(lambda: lines(metapath_run.NAME, metapath_verdicts(home)))
    say_one_by_one(work)


def lines_on(name: str, home: Path) -> list[str]:
    """What `verify` prints of a table of recommenders."""
    return lines(name, verdicts_on(Summary.of(Board.load(name, Home(home)))))


def lines(name: str, verdicts: Iterable[Verdict]) -> list[str]:
    """What `verify` prints of a table."""
    found = list(verdicts)
    return [f"{name}: {count(found)}", *told(found)]


def say_one_by_one(work: Sequence[Callable[[], Iterable[object]]]) -> None:
    """Say what each part makes, so that one damaged table does not silence the others.

    Raises:
        InputError: what was wrong, of all that could not be made.
    """
    problems = []
    for make in work:
        try:
            for line in make():
                say(str(line))
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))


@app.command("conformance")
def conform(
    files: Annotated[list[Path], typer.Argument(help="golden files, .npz", metavar="FILE...")],
) -> None:
    """Recompute golden vectors of published code and compare values and gradients in float64 and float32."""
    from benchmarks import conformance  # needs no table, and no table needs it

    raise typer.Exit(conformance.main(files))


def main() -> None:
    """Run the command line; mistakes that a person can mend end with one sentence and status 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        app()
    except (InputError, NotFiniteError) as error:
        stderr.print(f"error: {error}", style="red", soft_wrap=True, highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
