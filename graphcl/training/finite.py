"""What is not finite ends a training with a sentence, never with numbers that mean nothing."""

from collections.abc import Mapping

import torch
from torch import Tensor

from graphcl.errors import NotFiniteError
from graphcl.training.learner import Learner
from graphcl.training.state import TrainingState


class Norms:
    """The mean of gradients' norms, summed where they are; those of the steps that a scaler skips do not count."""

    def __init__(self, device: torch.device, scaler: torch.amp.GradScaler) -> None:
        self.scaler = scaler
        self.total, self.counted = torch.zeros((), device=device), torch.zeros((), device=device)

    def add(self, norm: Tensor) -> None:
        """Of one step."""
        if not self.scaler.is_enabled():
            self.total += norm
            self.counted += 1
            return
        counts = torch.isfinite(norm)
        self.total += torch.where(counts, norm, 0.0)
        self.counted += counts

    def mean(self, where: str) -> float:
        """Over the steps that count, 0 where there is none: a scaler may have to look for its scale at first.

        Raises:
            NotFiniteError: the scaler has skipped every step although it does not enlarge the loss any more.
        """
        if not self.counted and self.scaler.get_scale() < 1:
            raise NotFiniteError(
                f"the gradient was not finite in any step {where} although every loss was; train with precision fp32 "
                f"or bf16, or look for a division by zero; the checkpoints saved before are sound"
            )
        return float(self.total / self.counted.clamp(min=1))


def refuse_non_finite(
    losses: Mapping[str, Tensor], norm: Tensor, learner: Learner, state: TrainingState, where: str
) -> None:
    """Raise `NotFiniteError` where a loss term or the gradient is infinite or NaN."""
    for name, loss in losses.items():
        if not torch.isfinite(loss):
            raise NotFiniteError(
                f"loss term {name!r} is {float(loss.detach()):g} {where}; lower the learning rate, "
                f"raise the temperature, or set clip_norm; the checkpoints saved before are sound"
            )
    if not torch.isfinite(norm) and not state.scaler.is_enabled():
        gradients = {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}
        names = [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()]
        largest = max((float(gradient.abs().max()) for gradient in gradients.values()), default=0.0)
        what = f"the gradient of {', '.join(names)} is" if names else f"gradients reach {largest:.1g}, their norm is"
        raise NotFiniteError(
            f"{what} not finite {where} although every loss is; lower the learning rate or look for a division by zero "
            f"or by almost nothing, such as a layer norm over very few features; the checkpoints saved before are sound"
        )
