"""One row of the `metapath` table: train an embedder with several seeds, probe it, write one JSON record per seed.

    python -m benchmarks.metapath benchmarks/configs/metapath/acm-meow.yaml --data DIR --seeds 0,1,2,3,4

A training is looked at every `eval_every` epochs, on training and validation labels only. Three rules each name one of
these epochs: the last one, the one of lowest training loss, and the one whose probe does best on validation nodes.
The test nodes are then judged once for each rule.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from graphcl.data.recipe import GraphRecipe
from graphcl.evaluation.probe import Parts, Probe, judge, validation_score
from graphcl.models import EMBEDDERS, Embedder
from graphcl.models.adameow import AdaMEOW
from graphcl.training.loop import Training, fit
from recsys.config import build, dump, read

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A row without its model, whose keys depend on its kind."""

    graph: GraphRecipe
    training: Training
    probe: Probe = field(default_factory=Probe)


@dataclass
class Watch:
    """Looks at an embedder while it trains, and keeps the vectors that each rule would choose."""

    embedder: Embedder
    labels: Tensor
    splits: Mapping[int, Parts]
    probe: Probe
    kept: dict[str, tuple[float, int, Tensor]] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    _seen: tuple[Tensor, dict[str, float]] | None = None

    def validate(self) -> dict[str, float]:
        """Probe on validation nodes; `fit` asks after every `eval_every` epochs."""
        z = self.embedder.embed()
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
        self.curve.append({"epoch": epoch, "loss": loss, "seconds": record["seconds"], **scores})
        log.info("epoch %d %s", epoch, {name: round(value, 4) for name, value in self.curve[-1].items()})
        for rule, value in (("last", float(epoch)), ("loss", -loss), ("valid", scores["valid_macro_f1"])):
            if rule not in self.kept or value > self.kept[rule][0]:
                self.kept[rule] = value, epoch, z.clone()


def run_seed(path: Path, data_root: Path, seed: int, epochs: int | None = None) -> dict[str, Any]:
    """Train and judge with one seed."""
    tree = read(path)
    model_tree = dict(tree.pop("model"))
    embedder_class: Any = EMBEDDERS[model_tree.pop("kind")]
    config = build(embedder_class.Config, model_tree, "model")
    if epochs is not None:
        tree["training"]["epochs"] = epochs
    settings = build(Settings, tree, path.stem)
    started, cpu = time.perf_counter(), time.process_time()
    data = settings.graph.load(data_root)
    store = data[data.target_type]
    torch.manual_seed(seed)
    embedder = embedder_class(data, config)
    prepared = time.process_time() - cpu
    watch = Watch(embedder, store.y, store.splits, settings.probe)
    cpu = time.process_time()
    outcome = fit(embedder, settings.training, seed=seed, validate=watch.validate, log=watch.log)
    trained = time.process_time() - cpu
    judged = {
        epoch: judge(z, store.y, store.splits, probe=settings.probe, generator=torch.Generator().manual_seed(seed))
        for _, epoch, z in watch.kept.values()
    }
    return {
        "row": path.stem,
        "seed": seed,
        "model": dump(config),
        "training": dump(settings.training),
        "epochs": outcome.last_epoch + 1,
        "prepare_cpu_seconds": prepared,
        "train_cpu_seconds": trained,
        "seconds": time.perf_counter() - started,
        "rules": {rule: {"epoch": epoch, **judged[epoch]} for rule, (_, epoch, _) in watch.kept.items()},
        "curve": watch.curve,
    }


def main(
    config: Annotated[Path, typer.Argument(help="a row's YAML")],
    data: Annotated[Path, typer.Option(envvar="GRAPHCL_DATA", help="folder of the data sets")],
    seeds: Annotated[str, typer.Option(help="comma-separated")] = "0,1,2,3,4",
    out: Annotated[Path, typer.Option(help="folder of records")] = Path("benchmarks/results/metapath"),
    epochs: Annotated[int | None, typer.Option(help="instead of the configured number")] = None,
) -> None:
    """Train and judge one row; a record per seed."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    out.mkdir(parents=True, exist_ok=True)
    for seed in map(int, seeds.split(",")):
        record = run_seed(config, data, seed, epochs)
        (out / f"{config.stem}-{seed}.json").write_text(json.dumps(record, indent=1))
        for rule, scores in record["rules"].items():
            log.info("%s seed %d %s %s", config.stem, seed, rule, {k: round(v, 2) for k, v in scores.items()})


if __name__ == "__main__":
    typer.run(main)
