"""One experiment: data, model, training, evaluation and seed, and the one place where they meet."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from graphcl.errors import InputError, refuse_unknown_word
from graphcl.ranges import Seed, Whole
from graphcl.training.loop import Log, Outcome, Progress, Training, fit
from recsys.blocks import Source, load_blocks
from recsys.config import dump
from recsys.data.catalog import load_split
from recsys.data.interactions import Interactions, Split
from recsys.evaluation.collapse import CollapseMonitor
from recsys.evaluation.metrics import LARGER_IS_BETTER, SAMPLED, measure, parse
from recsys.evaluation.ranking import Ranking, Repeats, rank
from recsys.folder import device_of
from recsys.models import MODELS
from recsys.models.base import Recommender


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is measured, on validation after each epoch and on test once."""

    monitor: str = "ndcg@10"
    """The validation metric that decides when to stop and which weights to keep; "loss" for the training loss."""
    report: tuple[str, ...] = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
    """The metrics of the test part, each with its length of list: recall, ndcg, hit, mrr, map, precision; of the lists
    as such coverage, gini, popularity."""
    mask_history: bool = True
    """Whether items that a user already had are kept out of the ranking."""
    repeats: Repeats = "masked"
    """What masking does to a true item that the user already had: it is masked like any other, or stays a candidate."""
    candidates: Literal["all", "trained"] = "all"
    """Which items are ranked: the whole catalogue, or those with a training event."""
    collapse_every: Whole = 5
    """Epochs between two looks at how vectors spread and at the gradient of each loss term; 0 never looks. It does not
    change the training."""

    def __post_init__(self) -> None:
        if not self.report:
            raise InputError("report: names no metric; give at least one, such as [recall@20, ndcg@20]")
        for name in self.watched:
            kind, k = parse(name)
            if kind.startswith(SAMPLED):
                raise InputError(f"{name!r}: the whole catalogue is ranked; ask for {kind.removeprefix(SAMPLED)}@{k}")
            if name == self.monitor and kind not in LARGER_IS_BETTER:
                raise InputError(f"monitor: a larger {name} is not better; choose one of {', '.join(LARGER_IS_BETTER)}")

    @property
    def watched(self) -> tuple[str, ...]:
        """The metrics measured on validation."""
        return tuple(dict.fromkeys([*(() if self.monitor == "loss" else (self.monitor,)), *self.report]))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The keys of a configuration file, besides the blocks `model`, `training` and `evaluation`."""

    dataset: str | dict[str, Any] | None = None
    """A name in datasets.yaml, or a block that describes your own files; not needed where Python hands over a split."""
    split: str | dict[str, Any] | None = None
    """How the data is divided: a rule, or the name of one of the data set's splits; by default the one named after the
    model's task (general, sequential), else the data set's first. Own files: for a sequential model leave_one_out."""
    filters: list[str | dict[str, Any]] | None = None
    """What is filtered, if not as datasets.yaml says."""
    seed: Seed = 2026
    """Fixes every random draw of the training."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes a GPU where there is one."""
    output: str = "runs"
    """The folder in which run folders are made."""


@dataclass(frozen=True)
class Experiment:
    """A configuration, checked and complete."""

    settings: Settings
    model: type[Recommender]
    config: Any
    training: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)

    @classmethod
    def load(cls, source: Source, overrides: Iterable[str] = ()) -> "Experiment":
        """From a YAML file or a tree of keys.

        Raises:
            ConfigError: every mistake, a line each.
        """
        found = load_blocks(
            source, overrides, models=MODELS, settings=Settings, others={"evaluation": Evaluation}, parts={}
        )
        return cls(found.settings, found.model, found.config, found.training, found.others["evaluation"])

    @property
    def kind(self) -> str:
        """The model's name in YAML."""
        return next(name for name, model in MODELS.items() if model is self.model)

    def tree(self) -> dict[str, Any]:
        """Every key, defaults spelt out; `load` makes an equal experiment from it."""
        return {
            **dump(self.settings),
            "model": {"kind": self.kind, **dump(self.config)},
            "training": dump(self.training),
            "evaluation": dump(self.evaluation),
        }

    @property
    def digest(self) -> str:
        """Identity of everything that changes a result: all keys but `output` and `evaluation.collapse_every`."""
        tree = {key: value for key, value in self.tree().items() if key != "output"}
        tree["evaluation"] = {key: value for key, value in tree["evaluation"].items() if key != "collapse_every"}
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]

    def split(self) -> Split:
        """The data, prepared and checked."""
        settings = self.settings
        if settings.dataset is None:
            raise InputError("dataset: is missing; name an entry of datasets.yaml, such as dataset: ml-100k")
        return load_split(settings.dataset, split=settings.split, filters=settings.filters, task=self.model.task)

    def refuse_unmeasurable(self, split: Split) -> None:
        """Raise `InputError` where lists are longer than the catalogue, or nothing is there that `monitor` judges."""
        monitor = self.evaluation.monitor
        if monitor != "loss" and not len(split.valid):
            raise InputError(
                f"evaluation.monitor: the split has no validation part to measure {monitor} on; "
                f"take a split with one, or monitor: loss"
            )
        refuse_long_lists(self.evaluation.watched, split.train.num_items)

    def build(self, train: Interactions) -> Recommender:
        """The model before training; its first weights follow from the seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.settings.seed)
            return self.model(train, self.config).to(device_of(self.settings.device))

    def fit(
        self,
        model: Recommender,
        split: Split,
        *,
        folder: Path | None = None,
        resume: bool = False,
        log: Log = lambda record: None,
        progress: Progress = lambda batches, total, title: batches,
    ) -> Outcome:
        """Train on `train`, stop on `valid`."""
        wanted = self.evaluation

        validate = partial(self.measure, model, split, "valid", wanted.watched)
        return fit(
            model,
            self.training,
            seed=self.settings.seed,
            validate=validate if len(split.valid) else None,
            monitor=wanted.monitor,
            watch=CollapseMonitor(
                model, split.train, every=wanted.collapse_every, batch_size=self.training.train_batch_size
            ),
            folder=folder,
            resume=resume,
            log=log,
            progress=progress,
        )

    def rank(
        self,
        model: Recommender,
        split: Split,
        part: Literal["valid", "test"],
        names: Iterable[str],
        *,
        mask_history: bool | None = None,
    ) -> Ranking:
        """Rank all items for the users of a part. What came before is known: train, and for test also valid.

        Raises:
            InputError: the part is neither valid nor test.
        """
        refuse_unknown_word("part", part, ("valid", "test"))
        masked = self.evaluation.mask_history if mask_history is None else mask_history
        seen = split.train if part == "valid" else split.train + split.valid
        truth = split.valid if part == "valid" else split.test
        return rank(
            model.index(),
            seen,
            truth,
            max(parse(name)[1] for name in names),
            mask_history=masked,
            repeats=self.evaluation.repeats,
            candidates=self.candidates(split),
        )

    def candidates(self, split: Split) -> Tensor | None:
        """[C] the items that may be shown; None for all."""
        trained = self.evaluation.candidates == "trained"
        return split.train.item_counts.nonzero().flatten() if trained else None

    def measure(
        self,
        model: Recommender,
        split: Split,
        part: Literal["valid", "test"],
        names: Sequence[str],
        *,
        mask_history: bool | None = None,
    ) -> dict[str, float]:
        """The metrics of a part, by name."""
        ranking = self.rank(model, split, part, names, mask_history=mask_history)
        return measure(ranking, names, item_counts=split.train.item_counts)


def refuse_long_lists(metrics: Iterable[str], num_items: int) -> None:
    """Raise `InputError` where a metric looks at more items than there are."""
    for name in metrics:
        if parse(name)[1] > num_items:
            raise InputError(
                f"evaluation: {name!r} needs lists of {parse(name)[1]} items, the catalogue has {num_items}; "
                f"shorten them"
            )
