"""Experiments on graphs without users: an embedder learns one vector per node, probes say what they are worth."""

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphcl.data.check import check
from graphcl.data.digest import graph_digest
from graphcl.data.recipe import GraphRecipe
from graphcl.errors import InputError
from graphcl.evaluation.probe import Probe, judge, validation_score
from graphcl.models import EMBEDDERS, Embedder
from graphcl.ranges import Seed
from graphcl.training.checkpoint import write_atomically
from graphcl.training.loop import Log, Progress, Training, fit
from recsys import folder as files
from recsys.blocks import Source, load_blocks
from recsys.config import dump
from recsys.data.fetch import data_home

VALID_MACRO_F1 = "valid_macro_f1"


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """The keys of a configuration of an embedder, besides the blocks `model` and `training`."""

    graph: GraphRecipe
    """The graph, and what is done to its features."""
    probe: Probe = field(default_factory=Probe)
    """How the linear probes are trained."""
    monitor: Literal["loss", "valid_macro_f1"] = "loss"
    """What decides when to stop and which weights to keep; test labels never do."""
    seed: Seed = 2026
    """Fixes every random draw of the training."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes a GPU where there is one."""
    output: str = "runs"
    """The folder in which run folders are made."""


@dataclass(frozen=True)
class NodeExperiment:
    """A configuration of an embedder, checked and complete."""

    settings: NodeSettings
    model: type[Embedder]
    config: Any
    training: Training

    @classmethod
    def load(cls, source: Source, overrides: Iterable[str] = ()) -> "NodeExperiment":
        """From a YAML file or a tree of keys.

        Raises:
            ConfigError: every mistake, a line each.
        """
        found = load_blocks(
            source, overrides, models=EMBEDDERS, settings=NodeSettings, others={}, parts={"probe": Probe}
        )
        return cls(found.settings, found.model, found.config, found.training)

    @property
    def kind(self) -> str:
        """The model's name in YAML."""
        return next(name for name, model in EMBEDDERS.items() if model is self.model)

    def tree(self) -> dict[str, Any]:
        """Every key, defaults spelt out."""
        model = {"kind": self.kind, **dump(self.config)}
        return {**dump(self.settings), "model": model, "training": dump(self.training)}


@dataclass(frozen=True)
class NodeRun:
    """A trained embedder: its folder, its vectors [N, d], and what they are worth (empty where there are no labels).

    Labels without splits judge clusterings (NMI, ARI) only; probes need both.
    """

    folder: Path
    embedding: Tensor
    result: Mapping[str, float]


def train_embedder(
    source: str | Path | Mapping[str, Any] | NodeExperiment,
    overrides: Iterable[str] = (),
    *,
    graph: HeteroData | None = None,
    resume: bool = False,
    log: Log = lambda record: None,
    progress: Progress = lambda batches, total, title: batches,
    started: Callable[[Path], None] = lambda folder: None,
) -> NodeRun:
    """Train an embedder as a configuration says; labels, where there are some, say what its vectors are worth.

    Args:
        source: a YAML file, a tree of keys, or an experiment.
        overrides: keys set anew, such as "model.temperature=0.5".
        graph: the graph, if it is at hand already, with a `target_type`; it takes the place of the file that `graph`
            names, and nothing is done to its features.
        resume: go on with the newest run folder of the same configuration, if there is one; its graph must be the same.
        log: receives a record per epoch.
        progress: wraps the batches of each epoch.
        started: is told the run folder before training begins.

    Raises:
        InputError: the configuration, the graph or the folder is at fault.
        NotFiniteError: a loss or gradient is not finite.
    """
    if not isinstance(source, NodeExperiment):
        source = NodeExperiment.load(source, overrides)
    experiment = source
    settings = experiment.settings
    data, digest = ready(settings.graph, graph)
    store = data[data.target_type]
    labelled = "y" in store and bool((store.y >= 0).any())
    splits = store.get("splits", {}) if labelled else {}
    if settings.monitor == VALID_MACRO_F1 and not splits:
        raise InputError(f"monitor: {VALID_MACRO_F1} needs labels and splits, the graph has none; use monitor: loss")
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        embedder = experiment.model(data, experiment.config).to(files.device_of(settings.device))
    found = files.find_same(experiment.tree(), lambda then: NodeExperiment.load(then).tree()) if resume else None
    if found is not None:
        refuse_other_graph(found, digest)
    name = Path(settings.graph.path)
    stem = f"{name.parent.name or name.stem}-{experiment.kind}-{settings.seed}"
    folder = found or files.create(Path(settings.output).expanduser(), stem)
    started(folder)
    if found is None:
        origin = {"dataset": settings.graph.path, "digest": digest}
        files.write_json(folder / files.ENVIRONMENT, files.environment(origin))
        files.write_config(folder, experiment.tree())  # last of all: now it can be resumed
    metrics = files.MetricsFile(folder)

    def keep(record: dict[str, Any]) -> None:
        metrics.write(record)
        log(record)

    def validate() -> dict[str, float]:
        return {VALID_MACRO_F1: validation_score(embedder.embed().cpu(), store.y, splits, probe=settings.probe)}

    with files.discarded_unless_begun(folder, new=found is None):
        outcome = fit(
            embedder,
            experiment.training,
            seed=settings.seed,
            validate=validate if splits else None,
            monitor=settings.monitor,
            folder=folder,
            resume=resume,
            log=keep,
            progress=progress,
        )
    embedding = embedder.embed().cpu()
    buffer = io.BytesIO()
    np.save(buffer, embedding.numpy())
    write_atomically(folder / files.EMBEDDING, buffer.getvalue())
    generator = torch.Generator().manual_seed(settings.seed)
    scores = judge(embedding, store.y, splits, probe=settings.probe, generator=generator) if labelled else {}
    files.write_json(folder / files.RESULT, {"model": experiment.kind, "test": scores, **asdict(outcome)})
    return NodeRun(folder, embedding, scores)


def ready(recipe: GraphRecipe, given: HeteroData | None) -> tuple[HeteroData, str]:
    """The graph that a model reads, and the digest of what it is made from.

    What a recipe makes is left out of the digest: it follows from the configuration, its last bits from the machine.

    Raises:
        InputError: there is no such graph, or its parts do not fit.
    """
    if given is not None:
        check(given, "graph")
        return given, graph_digest(given)
    data = recipe.read(data_home())
    digest = graph_digest(data)
    return recipe.prepare(data), digest


def refuse_other_graph(folder: Path, digest: str) -> None:
    """Raise `InputError` where a run folder says that its graph was another one; folders of old say nothing."""
    saved = files.read_json(folder / files.ENVIRONMENT).get("data", {}).get("digest", digest)
    if saved != digest:
        raise InputError(
            f"{folder}: was trained on the graph {saved}, the graph is now {digest}; start a new run, without resuming"
        )
