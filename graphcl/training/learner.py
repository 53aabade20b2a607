"""What `fit` needs to know of anything that learns."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn


class Sampler(Protocol):
    """Where batches come from.

    A batch is a `NamedTuple` of tensors, possibly nested; `fit` moves it to the learner's device.
    """

    def steps(self, batch_size: int) -> int:
        """How many batches one epoch has."""
        ...

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Any]:
        """One epoch of batches. Every random draw comes from `generator` (on the CPU)."""
        ...


class Learner(nn.Module, ABC):
    """Answers one question: how wrong is it on this batch?

    A subclass is abstract or final; only abstract methods and the hooks `learns` and `begin_epoch` are overridden.
    Losses go through `forward`, so that a distributed wrapper sees them. Tensors that follow from the data (graphs,
    degrees) are non-persistent buffers: `.to(device)` moves them, checkpoints stay small.
    """

    phases: ClassVar[tuple[str, ...]] = ("all",)
    """The updates made on each batch, in order. A closed form, computed by `begin_epoch`, has none."""

    suggested: ClassVar[dict[str, Any]] = {}
    """Values of `Training` that suit the learner where a configuration names none."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_device_anchor", torch.empty(0), persistent=False)
        self._generator: torch.Generator | None = None

    @property
    def device(self) -> torch.device:
        """Where the learner lives."""
        return self._device_anchor.device  # type: ignore[return-value]

    @property
    def generator(self) -> torch.Generator:
        """The stream of every random draw of the learner: views, masks, noise.

        It lives on the learner's device; `fit` seeds it, a checkpoint keeps its state.
        """
        if self._generator is None or self._generator.device != self.device:
            self._generator = torch.Generator(self.device)
        return self._generator

    @abstractmethod
    def sampler(self) -> Sampler:
        """Where its batches come from."""

    @abstractmethod
    def forward(self, batch: Any, phase: str) -> dict[str, Tensor]:
        """The terms of the loss on `batch`: scalars by name, weights applied; `fit` minimises their sum."""

    def learns(self, phase: str) -> Iterable[nn.Parameter]:
        """Hook: the parameters that a phase updates."""
        return self.parameters()

    def begin_epoch(self, sampler: Sampler) -> None:
        """Hook: what is done once before each epoch, without gradients, in evaluation mode."""
