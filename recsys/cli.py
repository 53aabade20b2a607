"""The command line: arguments in, tables out; the work is done elsewhere."""

import csv
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from graphcl.errors import InputError, NotFiniteError, suggest
from graphcl.evaluation.probe import Probe
from graphcl.models import EMBEDDERS
from graphcl.training.loop import Training
from recsys.blocks import kind_of_model
from recsys.cli_datasets import app as datasets_app
from recsys.cli_progress import bar
from recsys.cli_tune import tune
from recsys.cli_views import views
from recsys.console import console, stderr
from recsys.experiment import Evaluation, Settings
from recsys.folder import MetricsFile, installed
from recsys.keys import describe
from recsys.migrate import import_run
from recsys.models import MODELS
from recsys.nodes import NodeRun, NodeSettings, train_embedder
from recsys.report import below_floor
from recsys.run import Run
from recsys.training import train as train_recommender

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(datasets_app, name="datasets")

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder that 'recsys train' named")]


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        console.print(installed("graphcl-recsys") or "not installed: this is a checkout", highlight=False)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="print the version and end")
    ] = False,
) -> None:
    """Train, evaluate and use recommenders."""


SET_ANEW = {"ignore_unknown_options": True}
"""What looks like an option and is none is taken for an override, whose error tells how a key is set."""


@app.command(context_settings=SET_ANEW)
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="a YAML file")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[key=value ...]", help="keys set anew")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with the newest run of the same configuration")
    ] = False,
) -> None:
    """Train as CONFIG says, then look at the test part once."""
    nodes = kind_of_model(config, overrides or ()) in EMBEDDERS
    run_training: Any = train_embedder if nodes else train_recommender
    with bar("the same command with --resume goes on from the last evaluation") as shown:
        run = run_training(
            config, overrides or (), resume=resume, log=shown.note, progress=shown.track, started=shown.started
        )
    (show_probes if nodes else show_ranking)(run)
    console.print(f"Run folder: {run.folder}", soft_wrap=True)


def show_ranking(run: Run) -> None:
    """The test metrics beside the popularity floor, and the protocol."""
    result = run.result
    dataset = run.split.protocol.get("dataset", "data")
    table = Table(title=f"{dataset}, test, best epoch {result['best_epoch']}")
    table.add_column("metric")
    table.add_column("popularity", justify="right")
    table.add_column(run.experiment.kind, justify="right", style="bold")
    for name, value in result["test"].items():
        table.add_row(name, f"{result['popularity'][name]:.4f}", f"{value:.4f}")
    console.print(table)
    if advice := below_floor(result, MetricsFile(run.folder).read()):
        console.print(advice, style="yellow")
    console.print("; ".join(f"{what}: {value}" for what, value in result["protocol"].items()), highlight=False)
    console.print(f"split: {result['data']}", highlight=False)


def show_probes(run: NodeRun) -> None:
    """What the vectors are worth, in percent."""
    table = Table("measure", "test", "sd", title=f"{len(run.embedding):,} nodes, vectors of {run.embedding.shape[1]}")
    for name, value in run.result.items():
        if "_std" not in name:
            kind, at, count = name.partition("@")
            table.add_row(name, f"{value:.2f}", f"{run.result[f'{kind}_std{at}{count}']:.2f}")
    console.print(table if run.result else "The nodes have no labels: nothing to judge the vectors by.")
    if run.result and not any("@" in name for name in run.result):
        console.print("Clusterings only: the labels have no splits into train, val and test, which probes need.")


app.command(context_settings=SET_ANEW)(tune)


@app.command()
def evaluate(
    run: RunFolder,
    part: Annotated[str, typer.Option(help="test or valid")] = "test",
    metrics: Annotated[str, typer.Option(help="such as recall@20,ndcg@20; default: those of the run")] = "",
    mask_history: Annotated[
        bool | None, typer.Option(help="whether known items are left out; default: as the run")
    ] = None,
) -> None:
    """Evaluate a trained run, by full ranking."""
    if part not in ("test", "valid"):
        raise InputError(f"--part: {part!r} is neither test nor valid")
    opened = Run.open(run)
    names = [name.strip() for name in metrics.split(",") if name.strip()] or None
    measured = opened.evaluate(part, names, mask_history=mask_history)  # type: ignore[arg-type]
    masked = opened.experiment.evaluation.mask_history if mask_history is None else mask_history
    table = Table(title=f"{opened.experiment.kind}, {part}, history {'masked' if masked else 'not masked'}")
    for column in ("metric", "value"):
        table.add_column(column, justify="right")
    for name, value in measured.items():
        table.add_row(name, f"{value:.6f}")
    console.print(table)


@app.command()
def recommend(
    run: RunFolder,
    user: Annotated[list[str] | None, typer.Option(help="a user's raw id; may be repeated")] = None,
    history: Annotated[
        list[str] | None, typer.Option(help='raw item ids, oldest first: ID,ID or "I,D",ID; may be repeated')
    ] = None,
    k: Annotated[int, typer.Option("-k", help="how many items for each")] = 10,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="let known items come again")] = False,
) -> None:
    """Recommend items to users of the data, or to anybody with a history."""
    histories = [ids_in(line) for line in history or ()]
    frame = Run.open(run).recommend(users=user or (), histories=histories, k=k, include_seen=include_seen)
    table = Table(*(Column(name, overflow="fold") for name in frame.columns))
    for row in frame.itertuples(index=False, name=None):
        table.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


def ids_in(line: str) -> list[str]:
    """`a,b` -> [a, b]; an id with a comma in it stands in double quotes."""
    return [name.strip() for name in next(csv.reader([line], skipinitialspace=True), []) if name.strip()]


@app.command()
def export(
    run: RunFolder,
    output: Annotated[Path | None, typer.Option(help="a folder; default: RUN/export")] = None,
) -> None:
    """Write item and user vectors to Parquet and npy."""
    for path in Run.open(run).export(output or run / "export"):
        console.print(str(path), soft_wrap=True)


app.command()(views)


@app.command("import-weights")
def import_weights(
    method: Annotated[str, typer.Argument(metavar="icsrec|mclrec", help="whose authors wrote the checkpoint")],
    weights: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="a state_dict; only tensors are read")],
    dataset: Annotated[str, typer.Option(help="the data set it was trained on, a name in datasets.yaml")],
    out: Annotated[Path, typer.Option(help="the run folder to make")],
) -> None:
    """Turn an authors' checkpoint into a run, and evaluate it by both masking rules."""
    run = import_run(method, weights, dataset, out)
    table = Table("metric", "history masked", "not masked", title=f"{weights.name} on {dataset}, test")
    both = [run.evaluate(mask_history=masked) for masked in (True, False)]
    for name in both[0]:
        table.add_row(name, *(f"{measured[name]:.6f}" for measured in both))
    console.print(table)
    console.print(f"Run folder: {run.folder}", soft_wrap=True)


@app.command()
def models() -> None:
    """List the models."""
    table = Table("model", "task", "what it is")
    tasks = {name: model.task for name, model in MODELS.items()} | dict.fromkeys(EMBEDDERS, "nodes")
    for name, model in {**MODELS, **EMBEDDERS}.items():
        module = sys.modules[model.__module__].__doc__ or model.__doc__ or ""
        table.add_row(name, tasks[name], module.strip().splitlines()[0])
    console.print(table)


@app.command()
def config(model: Annotated[str, typer.Argument(metavar="MODEL", help="a name from 'recsys models'")]) -> None:
    """List every key for MODEL: its default, what it may be, what it means."""
    everything: dict[str, Any] = {**MODELS, **EMBEDDERS}
    if model not in everything:
        raise InputError(f"model {model!r} is unknown{suggest(model, everything)}")
    learner = everything[model]
    rest = {"probe": Probe, "": NodeSettings} if model in EMBEDDERS else {"evaluation": Evaluation, "": Settings}
    for block, schema in {"model": learner.Config, "training": Training, **rest}.items():
        columns = (Column("key", no_wrap=True), *(Column(name, overflow="fold") for name in ("default", "range")))
        table = Table(*columns, "meaning", title=block or "top level", title_justify="left")
        for key in describe(schema):
            default = learner.suggested.get(key.name, key.default) if block == "training" else key.default
            table.add_row(key.name, str(default), key.range, key.meaning)
        console.print(table)


def main() -> None:
    """Run the command line; mistakes that a person can mend end with one sentence and status 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("recsys.config").setLevel(logging.INFO)  # which keys were read by another name
    try:
        app()
    except (InputError, NotFiniteError) as error:
        stderr.print(f"error: {error}", style="red", soft_wrap=True, highlight=False)
        sys.exit(1)
