"""Which term of a loss moves the parameters, measured without disturbing the training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from graphcl.training.learner import Learner


@contextmanager
def undisturbed(learner: Learner) -> Iterator[None]:
    """Whatever happens inside, generators, buffers and the mode of the learner are put back; gradients stay."""
    device = learner.device
    drawn, mode = learner.generator.get_state(), learner.training
    buffers = {name: buffer.clone() for name, buffer in kept_buffers(learner).items()}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            learner.generator.set_state(drawn)
            learner.train(mode)
            for name, buffer in kept_buffers(learner).items():
                buffer.copy_(buffers[name])


def kept_buffers(learner: Learner) -> Mapping[str, Tensor]:
    """The state that is no parameter: what a forward pass may move. Graphs and degrees are not among it."""
    parameters = {name for name, _ in learner.named_parameters()}
    return {name: value for name, value in learner.state_dict().items() if name not in parameters}


def gradient_shares(learner: Learner, batch: Any) -> dict[str, float]:
    """The norm of each loss term's gradient on `batch`, over the sum of these norms; all phases together.

    A term that is alone in moving the parameters has the share 1. Terms may pull against each other: shares say how
    hard, not where to. Costs a forward pass, and a backward pass for each term.
    """
    squares: dict[str, float] = {}
    with undisturbed(learner), torch.enable_grad():
        learner.train()
        for phase in learner.phases:
            learned = [parameter for parameter in learner.learns(phase) if parameter.requires_grad]
            terms = {name: term for name, term in learner(batch, phase).items() if term.requires_grad}
            for name, term in terms.items():
                gradients = torch.autograd.grad(term, learned, retain_graph=True, allow_unused=True)
                found = [gradient.double().square().sum() for gradient in gradients if gradient is not None]
                squares[name] = squares.get(name, 0.0) + float(torch.stack(found).sum() if found else 0.0)
    norms = {name: square**0.5 for name, square in squares.items()}
    total = sum(norms.values())
    return {name: norm / total if total else 0.0 for name, norm in norms.items()}
