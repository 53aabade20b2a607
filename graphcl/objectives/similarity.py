"""Similarities, each as a map into a space where it is an inner product: s(x_i, y_j) = x'_i . y'_j.

That is all the kernel needs. Any function `([N, d], [M, d]) -> ([N, e], [M, e])` is a similarity, with parameters if
it is a module (a bilinear form, a pair of projections).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Similarity = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def dot(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Inner product: x . y."""
    return x, y


def cosine(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine: x . y / (|x| |y|); norms are kept above 1e-12, so that a zero row stays zero."""
    return F.normalize(x, dim=-1), F.normalize(y, dim=-1)


def negative_squared_distance(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Distance: -|x - y|^2, with two coordinates more.

    Both sides are centred first: distances do not change, and the expansion |x|^2 + |y|^2 - 2 x.y loses fewer digits.
    """
    centre = torch.cat([x, y]).mean(0, keepdim=True)
    x, y = x - centre, y - centre
    x_square, y_square = x.square().sum(1, keepdim=True), y.square().sum(1, keepdim=True)
    return (
        torch.cat([2 * x, -x_square, -torch.ones_like(x_square)], 1),
        torch.cat([y, torch.ones_like(y_square), y_square], 1),
    )
