"""One row of the `metapath` table: train an embedder with several seeds, probe it, write one JSON record per seed.

    python -m benchmarks.metapath benchmarks/configs/metapath/acm-meow.yaml --seeds 0,1,2,3,4

A training is looked at every `eval_every` epochs, on training and validation labels only. Three rules each name one of
these epochs: the last one, the one of lowest training loss, and the one whose probe does best on validation nodes.
The test nodes are then judged once for each rule. With a folder for its checkpoints a training goes on after a kill.
"""

import hashlib
import json
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import rmtree
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.aside import set_aside
from benchmarks.cell import Meter
from graphcl.data.digest import graph_digest
from graphcl.data.recipe import GraphRecipe
from graphcl.errors import InputError, NotFiniteError
from graphcl.evaluation.probe import Parts, Probe, judge, validation_score
from graphcl.models import EMBEDDERS, Embedder
from graphcl.models.adameow import AdaMEOW
from graphcl.ranges import Count
from graphcl.training import checkpoint
from graphcl.training.checkpoint import make_folder, write_atomically
from graphcl.training.loop import Training, fit
from recsys.config import ConfigError, build, choose, construct, dump, read
from recsys.data.fetch import data_home
from recsys.folder import device_of, environment

log = logging.getLogger(__name__)

WATCH, SPENT = "watch.safetensors", "spent.json"
RULES = ("last", "loss", "valid")
"""What names an epoch: the end, the lowest training loss, the best probe of validation nodes."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A row without its model, whose keys depend on its kind."""

    title: str
    """What the page calls the row."""
    graph: GraphRecipe
    training: Training
    probe: Probe = field(default_factory=Probe)
    digest: str | None = None
    """Of the graph in its file; other data is refused. ~ where nobody here has checked it: its rows' records must then
    be of one file."""
    seeds: Count = 5
    """Trainings; fewer where one takes long."""
    bars: tuple[str, ...] = ()
    """The published or re-run values beside it, by their names in `metapath_bars.yaml`."""
    differs: str = ""
    """How the row differs from what these values are of, should it be made another way: they do not compare then."""
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A row's YAML, checked and complete."""

    name: str
    settings: Settings
    embedder: Any
    config: Any

    @classmethod
    def load(cls, path: Path) -> "Row":
        """Read it.

        Raises:
            ConfigError: a key is unknown or a value wrong: all of them at once.
        """
        tree = read(path)
        problems: list[str] = []
        table = {name: embedder.Config for name, embedder in EMBEDDERS.items()}
        block = tree.pop("model", {})
        config = choose(table, block, "model", problems)
        settings = construct(Settings, tree, path.stem, problems)
        if problems:
            raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
        kind = block["kind"] if isinstance(block, Mapping) else block
        return cls(path.stem, settings, EMBEDDERS[kind], config)

    def identity(self) -> dict[str, Any]:
        """All that decides what a seed gives; a record of another identity is of another row."""
        tree = dump(self.settings)
        kept = {key: tree[key] for key in ("graph", "training", "probe")}
        return json.loads(json.dumps({**kept, "kind": self.embedder.__name__, "model": dump(self.config)}))

    @property
    def digest(self) -> str:
        """Tells this row from all others, and from what it was before a key changed."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:12]

    def refuse_other_data(self, digest: str, what: str = "the data here") -> None:
        """Raise `InputError` where the data at hand, or what a record was made from, is not the row's."""
        if self.settings.digest not in (None, digest):
            raise InputError(
                f"{what}: is of the digest {digest or 'unknown'}, row {self.name} is on {self.settings.graph.path} of "
                f"the digest {self.settings.digest}; take that data, or mend the row's digest"
            )

    def made(self, was: Any) -> bool:
        """Whether an identity is this row's; keys that came into being after it have their defaults in it."""
        try:
            settings = build(Settings, {"title": "", **{key: was[key] for key in ("graph", "training", "probe")}}, "")
            before = replace(self, settings=settings, config=build(self.embedder.Config, was["model"], ""))
        except (ConfigError, KeyError, TypeError):
            return False
        return was.get("kind") == self.embedder.__name__ and before.identity() == self.identity()


@dataclass
class Watch:
    """Looks at an embedder while it trains, and keeps the vectors that each rule would choose."""

    embedder: Embedder
    labels: Tensor
    splits: Mapping[int, Parts]
    probe: Probe
    meter: Meter
    """Adds up what all sessions cost."""
    folder: Path | None = None
    """Where it is kept between sessions, beside the checkpoints."""
    kept: dict[str, tuple[float, int, Tensor]] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    spent: float = 0.0
    """CPU seconds of the sessions before this."""
    _seen: tuple[Tensor, dict[str, float]] | None = None
    _started: float = field(default_factory=time.process_time)

    def validate(self) -> dict[str, float]:
        """Probe on validation nodes; `fit` asks after every `eval_every` epochs."""
        z = self.embedder.embed().cpu()
        scores = {"valid_macro_f1": validation_score(z, self.labels, self.splits, probe=self.probe)}
        if isinstance(self.embedder, AdaMEOW):
            scores |= self.embedder.weight_spread()
        self._seen = z, scores
        return scores

    def log(self, record: Mapping[str, Any]) -> None:
        """Take note of an epoch."""
        if self._seen is None:
            return
        (z, scores), epoch = self._seen, int(record["epoch"]) + 1
        self._seen = None
        loss = float(sum(record["losses"].values()))
        self.curve = [point for point in self.curve if point["epoch"] < epoch]  # after a kill some come again
        self.curve.append({"epoch": epoch, "loss": loss, "seconds": record["seconds"], **scores})
        log.info("epoch %d %s", epoch, {name: round(value, 4) for name, value in self.curve[-1].items()})
        for rule, value in (("last", float(epoch)), ("loss", -loss), ("valid", scores["valid_macro_f1"])):
            if rule not in self.kept or value > self.kept[rule][0]:
                self.kept[rule] = value, epoch, z.clone()
        self.save()

    @property
    def cpu_seconds(self) -> float:
        """Of all sessions."""
        return self.spent + time.process_time() - self._started

    def save(self) -> None:
        """Keep all that another session needs."""
        if self.folder is not None:
            named = {rule: [value, epoch] for rule, (value, epoch, _) in self.kept.items()}
            state = {"named": named, "curve": self.curve, "spent": self.cpu_seconds}
            checkpoint.save(self.folder / WATCH, {rule: z for rule, (_, _, z) in self.kept.items()}, state)
            self.meter.save()

    def load(self) -> None:
        """Go on from an earlier session, if there was one."""
        if self.folder is not None and (self.folder / WATCH).exists():
            vectors, state = checkpoint.load(self.folder / WATCH)
            self.kept = {rule: (value, epoch, vectors[rule]) for rule, (value, epoch) in state["named"].items()}
            self.curve, self.spent = state["curve"], state["spent"]


def run_seed(row: Row, data_root: Path, seed: int, device: str = "auto", folder: Path | None = None) -> dict[str, Any]:
    """Train and judge with one seed; with a folder for checkpoints it goes on where it was stopped."""
    settings = row.settings
    meter, cpu = Meter(None if folder is None else folder / SPENT), time.process_time()
    graph = settings.graph.read(data_root)
    digest = graph_digest(graph)
    row.refuse_other_data(digest)
    data = settings.graph.prepare(graph)
    store = data[data.target_type]
    torch.manual_seed(seed)
    embedder = row.embedder(data, row.config).to(device_of(device))
    prepared = time.process_time() - cpu
    watch = Watch(embedder, store.y, store.splits, settings.probe, meter, folder)
    watch.load()
    outcome = fit(
        embedder,
        settings.training,
        seed=seed,
        validate=watch.validate,
        log=watch.log,
        folder=folder,
        resume=folder is not None,
    )
    trained = watch.cpu_seconds
    judged = {
        epoch: judge(z, store.y, store.splits, probe=settings.probe, generator=torch.Generator().manual_seed(seed))
        for _, epoch, z in watch.kept.values()
    }
    spent = meter.save()
    return {
        "row": row.name,
        "seed": seed,
        "identity": row.identity(),
        "epochs": outcome.last_epoch + 1,
        "prepare_cpu_seconds": round(prepared, 2),
        "train_cpu_seconds": round(trained, 2),
        "seconds": round(spent.wall_seconds, 1),
        "peak_memory_mib": round(spent.peak_memory_mib),
        "rules": {rule: {"epoch": epoch, **rounded(judged[epoch])} for rule, (_, epoch, _) in watch.kept.items()},
        "curve": [rounded(point) for point in watch.curve],
        "environment": {key: value for key, value in environment({}).items() if key not in ("command", "data")}
        | {"device": device_of(device).type},
        "data": digest,
        "spent": asdict(spent),
    }


def rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Five digits each."""
    return {name: float(f"{value:.5g}") for name, value in scores.items()}


def seeds_in(text: str) -> list[int]:
    """`0,1,2` -> [0, 1, 2].

    Raises:
        InputError: it is no list of whole numbers.
    """
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise InputError(f"--seeds: {text!r} is no list of whole numbers; write 0,1,2")
    return [int(part) for part in text.split(",")]


def main(
    config: Annotated[Path, typer.Argument(help="a row's YAML")],
    seeds: Annotated[str, typer.Option(help="comma-separated")] = "0,1,2,3,4",
    out: Annotated[Path, typer.Option(help="folder of records")] = Path("benchmarks/results/metapath"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    work: Annotated[Path | None, typer.Option(help="folder of checkpoints; with it a training can be resumed")] = None,
) -> None:
    """Train and judge one row; a record per seed."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    row, root = Row.load(config), data_home()
    make_folder(out)
    for seed in seeds_in(seeds):
        folder = None if work is None else work / f"{row.name}-{seed}-{row.digest}"
        if folder is not None:
            make_folder(folder)
        record = run_seed(row, root, seed, device, folder)
        path = out / f"{row.name}-{seed}.json"
        if path.exists():
            log.info("an earlier record is kept as %s", set_aside([path], (work or out) / "superseded"))
        write_atomically(path, json.dumps(record, indent=1).encode())
        if folder is not None:
            rmtree(folder)
        for rule, scores in record["rules"].items():
            log.info("%s seed %d %s %s", row.name, seed, rule, {k: round(v, 2) for k, v in scores.items()})


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except (InputError, NotFiniteError) as error:
        sys.exit(f"error: {error}")
