"""Where a training stands: everything that a resumed run needs to go on bit for bit."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from graphcl.errors import InputError
from graphcl.training import checkpoint
from graphcl.training.learner import Learner

LAST, BEST = "last.safetensors", "best.safetensors"


@dataclass
class TrainingState:
    """The learner, its optimisers, every generator, and the position in the training."""

    learner: Learner
    optimizers: dict[str, torch.optim.Optimizer]
    generator: torch.Generator
    """Draws the batches."""
    scaler: torch.amp.GradScaler
    epoch: int = -1
    """The last epoch that is finished."""
    step: int = 0
    best_value: float = -math.inf
    best_epoch: int = -1
    stale: int = 0
    """Evaluations since the best one."""
    best_weights: dict[str, Tensor] | None = field(default=None, repr=False)
    """Only where there is no folder to keep them in."""

    @classmethod
    def begin(
        cls,
        learner: Learner,
        optimizer_for: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        *,
        seed: int,
        scale_losses: bool,
    ) -> "TrainingState":
        """Before the first epoch. Seeds torch's global generators (dropout), the learner's and the sampler's."""
        seed_global(seed, learner.device)
        learner.generator.manual_seed(seed + 1)
        generator = torch.Generator().manual_seed(seed + 2)
        optimizers = {phase: optimizer_for(learner.learns(phase)) for phase in dict.fromkeys(learner.phases)}
        scaler = torch.amp.GradScaler(learner.device.type, enabled=scale_losses)
        return cls(learner, optimizers, generator, scaler)

    def observe(self, value: float) -> None:
        """Take note of an evaluation: larger is better, NaN never is, a tie is not."""
        if value > self.best_value:
            self.best_value, self.best_epoch, self.stale = value, self.epoch, 0
        else:
            self.stale += 1

    def keep(self, folder: Path | None) -> None:
        """Save this epoch to `folder`, or else keep its weights in memory if they are the best."""
        if folder is not None:
            self.save(folder)
        elif self.best_epoch == self.epoch:
            self.best_weights = {name: tensor.clone() for name, tensor in self.learner.state_dict().items()}

    def restore_best(self, folder: Path | None) -> None:
        """Give the learner its best weights, if a later epoch has changed them.

        Raises:
            InputError: the best checkpoint is missing, damaged, or belongs to another learner.
        """
        if self.best_epoch in (-1, self.epoch):
            return
        if folder is not None:
            checkpoint.load_weights(self.learner, checkpoint.load(folder / BEST)[0], folder / BEST)
        elif self.best_weights is not None:
            self.learner.load_state_dict(self.best_weights)

    def save(self, folder: Path) -> None:
        """Write `best` first, then `last`: killed in between, the older `last` still leads to the same `best`."""
        position = {
            "epoch": self.epoch,
            "step": self.step,
            "best_value": self.best_value if math.isfinite(self.best_value) else None,
            "best_epoch": self.best_epoch,
            "stale": self.stale,
        }
        weights = self.learner.state_dict()
        if self.best_epoch == self.epoch:
            checkpoint.save(folder / BEST, weights, position)
        tensors = {f"model/{name}": tensor for name, tensor in weights.items()}
        tensors |= {f"random/{name}": state for name, state in self.random().items()}
        for phase, optimizer in self.optimizers.items():
            for row, slots in optimizer.state_dict()["state"].items():
                tensors |= {
                    f"optimizer/{phase}/{row}/{slot}": torch.as_tensor(value)
                    for slot, value in slots.items()
                    if value is not None
                }
        checkpoint.save(folder / LAST, tensors, position | {"scaler": self.scaler.state_dict()})

    def load(self, folder: Path) -> None:
        """Go back to where `save` was called; nothing happens where nothing was saved yet.

        Raises:
            InputError: a checkpoint is damaged or belongs to another learner.
        """
        if not (folder / LAST).exists():
            return
        tensors, position = checkpoint.load(folder / LAST)
        checkpoint.load_weights(self.learner, section(tensors, "model"), folder / LAST)
        for phase, optimizer in self.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for name, value in section(tensors, f"optimizer/{phase}").items():
                row, _, slot = name.partition("/")
                slots.setdefault(int(row), {})[slot] = value
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        self.restore_random(section(tensors, "random"))
        self.scaler.load_state_dict(position["scaler"])
        self.epoch, self.step = position["epoch"], position["step"]
        self.best_epoch, self.stale = position["best_epoch"], position["stale"]
        if position["best_value"] is not None:
            self.best_value = position["best_value"]

    def random(self) -> dict[str, Tensor]:
        """The state of every generator that the training draws from."""
        states = {
            "sampler": self.generator.get_state(),
            "learner": self.learner.generator.get_state(),
            "cpu": torch.get_rng_state(),
        }
        if self.learner.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.learner.device)
        return states

    def restore_random(self, states: Mapping[str, Tensor]) -> None:
        """Put every generator back to where `random` found it.

        Raises:
            InputError: the states are of another kind of device.
        """
        saved, here = "cuda" if "cuda" in states else "cpu", self.learner.device.type
        if saved != here:
            raise InputError(
                f"the checkpoint was saved on device {saved}, the training would go on on {here}, where draws are "
                f"others; go on on {saved}, or begin anew"
            )
        self.generator.set_state(states["sampler"])
        self.learner.generator.set_state(states["learner"])
        torch.set_rng_state(states["cpu"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.learner.device)


def section(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `name/`, without that beginning."""
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def seed_global(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of `device`; `torch.manual_seed` would reseed every other GPU."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
