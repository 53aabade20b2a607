"""The one loop that trains everything."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from graphcl.errors import InputError, suggest
from graphcl.ranges import Count, Positive, Weight, Whole
from graphcl.schedules import Constant, Schedule
from graphcl.training.finite import Norms, refuse_non_finite
from graphcl.training.learner import Learner
from graphcl.training.lock import alone
from graphcl.training.state import TrainingState

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""(batches, how many, title) -> the same batches; a progress bar looks on."""
Log = Callable[[dict[str, Any]], None]
Watch = Callable[[int, Any], Mapping[str, Any]]
"""(epoch, sampler) -> entries for the epoch's record; it must leave the training as it is."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a learner is trained; what it learns is its own `Config`."""

    epochs: Count = 100
    """Passes over the training data, at most."""
    train_batch_size: Count = 2048
    """Rows of a batch."""
    learning_rate: Positive = 1e-3
    """Step size of the optimiser, before schedule and warm-up."""
    learning_rate_schedule: Schedule = field(default_factory=Constant)
    """Multiplier of the learning rate over the whole training, for example {kind: cosine, start: 1, end: 0}."""
    warmup_steps: Whole = 0
    """Batches over which the learning rate rises linearly from zero."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """The optimiser, with the defaults of torch."""
    weight_decay: Weight = 0.0
    """The optimiser's own decay; the models' `reg_weight` is another thing."""
    clip_norm: Weight = 0.0
    """Largest norm of a phase's gradient; 0 leaves it as it is."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Type of the autocast; weights stay in fp32."""
    loss_schedules: Mapping[str, Schedule] = field(default_factory=dict)
    """Multipliers of named loss terms over the training, for example {contrast: {kind: linear, start: 0, end: 1}}."""
    eval_every: Count = 1
    """Epochs between two evaluations; each is followed by a checkpoint."""
    patience: Count = 10
    """Evaluations without a better value after which training stops."""
    deterministic: bool = False
    """Refuse operations whose result depends on the order of threads."""

    OPTIMIZERS: ClassVar[dict[str, type[torch.optim.Optimizer]]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "sgd": torch.optim.SGD,
    }

    def optimizer_for(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh optimiser."""
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "fused": True}
        return self.OPTIMIZERS[self.optimizer](list(parameters), **options)

    def learning_rate_at(self, step: int, steps: int) -> float:
        """The learning rate of the update number `step` (from 0) of `steps`."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return self.learning_rate * warm * self.learning_rate_schedule(progress_at(step, steps))


def progress_at(step: int, steps: int) -> float:
    """What schedules are asked for: 0 at the first of `steps` updates, 1 at the last."""
    return min(1.0, step / max(1, steps - 1))


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    best_epoch: int
    best_value: float
    last_epoch: int
    cause: Literal["epochs", "patience"]


def fit(  # noqa: PLR0913, each is a decision of its own
    learner: Learner,
    training: Training,
    *,
    seed: int,
    validate: Callable[[], Mapping[str, float]] | None = None,
    monitor: str = "loss",
    watch: Watch = lambda epoch, sampler: {},
    folder: Path | None = None,
    resume: bool = False,
    log: Log = lambda record: None,
    progress: Progress = lambda batches, total, title: batches,
) -> Outcome:
    """Train until `monitor` stops getting better; leave the best weights in the learner.

    A learner without phases has nothing to repeat: one epoch computes it.

    Args:
        learner: what learns, already on its device.
        training: optimiser, schedule, stopping.
        seed: fixes every draw: batches, views, dropout. The global generators are left as they were found.
        validate: metrics of the learner as it is, larger is better; called after every `eval_every` epochs.
        monitor: the metric that decides, or "loss" for the training loss (smaller is better).
        watch: looks at the learner after every epoch; what it finds goes into the record.
        folder: where checkpoints go (`last.safetensors`, `best.safetensors`); none are written without it.
        resume: go on from `folder`, to the same weights as if nothing had happened (bit for bit on the CPU).
        log: receives one record per epoch: losses by name, metrics, gradient norm, seconds.
        progress: wraps the batches of each epoch.

    Raises:
        NotFiniteError: a loss term or a gradient is not finite.
        InputError: `monitor` is not among the metrics, the checkpoint does not fit the learner, or another process
            trains in `folder`.
    """
    devices = [learner.device] if learner.device.type == "cuda" else []
    with alone(folder), torch.random.fork_rng(devices=devices), strict(training):
        state = TrainingState.begin(
            learner, training.optimizer_for, seed=seed, scale_losses=training.precision == "fp16"
        )
        if resume and folder is not None:
            state.load(folder)
        sampler = learner.sampler()
        epochs = training.epochs if learner.phases else 1  # what has no phases is computed at once
        while state.epoch + 1 < epochs and state.stale < training.patience:
            started = time.perf_counter()
            state.epoch += 1
            record = {"epoch": state.epoch, **run_epoch(learner, training, state, sampler, progress)}
            evaluating = (state.epoch + 1) % training.eval_every == 0 or state.epoch + 1 == epochs
            if evaluating:
                learner.eval()
                with torch.no_grad():
                    metrics = dict(validate()) if validate else {}
                judge(state, record, metrics, monitor)
                record["metrics"] = metrics
            record |= watch(state.epoch, sampler)
            record["seconds"] = time.perf_counter() - started
            log(record)
            if evaluating:
                state.keep(folder)
        state.restore_best(folder)
        learner.eval()
    cause: Literal["epochs", "patience"] = "patience" if state.stale >= training.patience else "epochs"
    return Outcome(state.best_epoch, state.best_value, state.epoch, cause)


def run_epoch(
    learner: Learner, training: Training, state: TrainingState, sampler: Any, progress: Progress
) -> dict[str, Any]:
    """One pass over the data: the mean of each loss term, of the gradient's norm, and the learning rate."""
    learner.eval()
    with torch.no_grad():
        learner.begin_epoch(sampler)
    learner.train()
    if not learner.phases:
        return {"losses": {}}
    size = training.train_batch_size
    per_epoch = sampler.steps(size)
    if per_epoch == 0:
        raise InputError("the training data yields no batch; it needs at least one interaction that can be sampled")
    sums: dict[str, Tensor] = {}
    terms: Counter[str] = Counter()
    norms = Norms(learner.device, state.scaler)
    steps = training.epochs * per_epoch
    batches = progress(sampler.batches(size, state.generator), per_epoch, f"epoch {state.epoch}")
    for count, batch in enumerate(batches):
        rate, part = training.learning_rate_at(state.step, steps), progress_at(state.step, steps)
        batch = to_device(batch, learner.device)  # noqa: PLW2901
        for phase in learner.phases:
            with autocast(learner.device, training.precision):
                losses = {
                    name: loss * training.loss_schedules[name](part) if name in training.loss_schedules else loss
                    for name, loss in learner(batch, phase).items()
                }
            norm = update(learner, losses, phase, state, training, rate)
            for name, loss in losses.items():
                sums[name] = sums.get(name, torch.zeros((), device=learner.device)) + loss.detach()
                terms[name] += 1
            norms.add(norm)
            if learner.device.type == "cpu" or count % 50 == 0 or count + 1 == per_epoch:
                refuse_non_finite(losses, norm, learner, state, f"in epoch {state.epoch}, batch {count}")
        if count == 0:
            refuse_unknown_terms(training, terms)
        state.step += 1
    # Where batches are looked at now and then, a sum still tells of every one.
    refuse_non_finite(sums, norms.total, learner, state, f"somewhere in epoch {state.epoch}")
    means = {name: float(total) / terms[name] for name, total in sums.items()}
    return {"losses": means, "gradient_norm": norms.mean(f"in epoch {state.epoch}"), "learning_rate": rate}


def update(
    learner: Learner, losses: dict[str, Tensor], phase: str, state: TrainingState, training: Training, rate: float
) -> Tensor:
    """One step of the phase's optimiser; returns the norm of its gradient before clipping."""
    learner.zero_grad(set_to_none=True)
    optimizer = state.optimizers[phase]
    total = torch.stack([loss.float() if loss.dtype != torch.float64 else loss for loss in losses.values()]).sum()
    state.scaler.scale(total).backward()
    state.scaler.unscale_(optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if training.clip_norm:
        nn.utils.clip_grads_with_norm_(parameters, training.clip_norm, norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    state.scaler.step(optimizer)
    state.scaler.update()
    return norm


def refuse_unknown_terms(training: Training, terms: Iterable[str]) -> None:
    """Raise `InputError` where a schedule is of no loss term."""
    for name in training.loss_schedules:
        if name not in terms:
            raise InputError(f"training.loss_schedules.{name}: no loss term is called so{suggest(name, terms)}")


def judge(state: TrainingState, record: Mapping[str, Any], metrics: Mapping[str, float], monitor: str) -> None:
    """Note whether this epoch is the best so far, or count it as stale. Ties are not better."""
    if monitor == "loss":
        value = -math.fsum(record["losses"].values())
    elif monitor in metrics:
        value = metrics[monitor]
    else:
        raise InputError(f"evaluation.monitor: {monitor!r} is not measured; measured: loss, {', '.join(metrics)}")
    state.observe(value)


def to_device(batch: Any, device: torch.device) -> Any:
    """The same nested tuple of tensors on `device`."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, tuple):
        parts = [to_device(part, device) for part in batch]
        return type(batch)(*parts) if type(batch) is not tuple else tuple(parts)
    return batch


def autocast(device: torch.device, precision: str) -> Any:
    """The context of a forward pass."""
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    return torch.autocast(device.type, dtype=kinds[precision]) if precision in kinds else nullcontext()


@contextmanager
def strict(training: Training) -> Iterator[None]:
    """Deterministic algorithms where asked for; the process-wide switch is put back."""
    before = torch.get_deterministic_debug_mode()
    if training.deterministic:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
