"""Pieces of backward passes that are written by hand."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from graphcl.errors import InputError

Gradients = TypeVar("Gradients")


def without_autocast(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """The backward pass of a `Function` in the precision of its tables, wherever `loss.backward()` is called."""

    @wraps(backward)
    def plain(ctx: Any, *cotangents: Tensor) -> Gradients:
        with torch.autocast(cotangents[0].device.type, enabled=False):
            return backward(ctx, *cotangents)

    return plain


def refuse_second_derivative(name: str) -> None:
    """Called at the head of a backward pass that cannot be differentiated: silence would give wrong numbers."""
    if torch.is_grad_enabled():
        raise InputError(
            f"{name} can be differentiated once, but a second derivative was asked for (create_graph=True); "
            f"write the step with spmm and edge_dot, or use the dense form of the objective (tile=None)"
        )


def unit_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows over their norm, and the norms [N, 1], kept above 1e-12: what `F.normalize` computes."""
    norm = x.norm(dim=1, keepdim=True).clamp_(min=1e-12)
    return x / norm, norm


def through_unit_rows(unit: Tensor, norm: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of x from that of its unit rows, in place of `gradient`: the part along the row vanishes."""
    along = (unit * gradient).sum(1, keepdim=True)
    # A row shorter than the bound was divided by a constant.
    along.masked_fill_(norm <= 1e-12, 0.0)
    return gradient.addcmul_(unit, along, value=-1).div_(norm)
