"""`recsys tune`: search for hyper-parameters, chosen on validation."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from graphcl.errors import InputError
from graphcl.models import EMBEDDERS
from recsys.blocks import kind_of_model
from recsys.cli_progress import bar
from recsys.config import read
from recsys.console import console
from recsys.experiment import Experiment
from recsys.search_space import refuse_misfits, space_of, usual
from recsys.tune import search, write_best


def tune(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="a YAML file, as for 'recsys train'")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[key=value ...]", help="keys set anew")] = None,
    trials: Annotated[int, typer.Option(min=1, help="trainings at most, those of earlier calls included")] = 20,
    budget: Annotated[float, typer.Option(help="seconds of training after which no trial is started")] = math.inf,
    space: Annotated[
        Path | None,
        typer.Option(help="a YAML file, key: {low: 0.1, high: 1, log: true} or a list of values; default: the usual"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="the search's folder; default: below the output folder")] = None,
) -> None:
    """Search for hyper-parameters of CONFIG; the validation part decides, the test part is never looked at.

    The same command goes on where an earlier one stopped or was interrupted; more trials may be asked for.
    """
    if kind_of_model(config, overrides or ()) in EMBEDDERS:
        raise InputError(f"{config}: 'recsys tune' searches for recommenders; this configures an embedder of nodes")
    experiment = Experiment.load(config, overrides or ())
    chosen = usual(experiment) if space is None else space_of(read(space))
    if space is not None:
        refuse_misfits(chosen, experiment)
    folder = out or Path(experiment.settings.output).expanduser() / f"tune-{config.stem}-{experiment.kind}"
    with bar("the same command goes on from the last evaluation") as shown:
        done = search(
            experiment,
            chosen,
            folder,
            trials=trials,
            budget=budget,
            log=lambda trial: shown.say(in_words(trial)),
            progress=shown.track,
        )
    best = write_best(folder, done, experiment)
    show(done, experiment.evaluation.monitor)
    console.print(f"Best configuration: {best}", soft_wrap=True, highlight=False)
    console.print(f"Train it: recsys train {best}", soft_wrap=True, highlight=False)


def in_words(trial: Mapping[str, Any]) -> str:
    """One line of a trial."""
    value = trial.get("failure") if trial["value"] is None else f"{trial['value']:.4f}"
    return f"trial {trial['number']}: {value} ({keys_of(trial, ', ')})"


def keys_of(trial: Mapping[str, Any], between: str) -> str:
    """What a trial set anew."""
    return between.join(f"{key}={short(value)}" for key, value in trial["keys"].items()) or "as configured"


def show(done: list[dict[str, Any]], monitor: str) -> None:
    """The trials as a table, best first; those that failed are counted below."""
    ended = sorted((trial for trial in done if trial["value"] is not None), key=lambda trial: -trial["value"])
    columns = (
        Column(name, justify="right", no_wrap=True) for name in ("trial", f"valid {monitor}", "epochs", "seconds")
    )
    table = Table(*columns, Column("keys", overflow="fold"), title=f"Trials: {len(done)}")
    for trial in ended:
        row = [str(trial["number"]), f"{trial['value']:.4f}", str(trial["epochs"]), f"{trial['seconds']:.0f}"]
        table.add_row(*row, keys_of(trial, "\n"), style="bold" if trial is ended[0] else None)
    console.print(table)
    if len(ended) < len(done):
        console.print(f"Failed: {len(done) - len(ended)}; trials.jsonl says why.")


def short(value: Any) -> str:
    """A number with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
