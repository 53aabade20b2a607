"""Losses without negatives, or with negatives but without an anchor's softmax."""

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.finite import finite
from graphcl.objectives.kernel import Tile, row_lse
from graphcl.objectives.pairing import same_rows
from graphcl.objectives.similarity import negative_squared_distance
from graphcl.objectives.tables import refuse_temperature, tables
from graphcl.objectives.weights import Exclude


def alignment(x: Tensor, y: Tensor, *, alpha: float = 2.0, normalise: bool = True) -> Tensor:
    """Mean over rows of |x_i - y_i|^alpha (arXiv 2005.10242; DirectAU, arXiv 2206.12811). `x` and `y` [N, d]."""
    x, y = tables(x, y, least=1)
    same_rows(x, y)
    if normalise:
        x, y = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
    square = (x - y).square().sum(-1)
    # |.|^alpha has no gradient at 0 below alpha = 2; the smallest normal number stands in for an exact match.
    loss = (square if alpha == 2 else square.clamp(min=torch.finfo(x.dtype).tiny) ** (alpha / 2)).mean()
    return finite(loss, the_first_view=x, the_second_view=y)


def uniformity(x: Tensor, *, t: float = 2.0, normalise: bool = True, tile: Tile | str | None = "auto") -> Tensor:
    """Log of the mean over pairs i < j of exp(-t |x_i - x_j|^2) (arXiv 2005.10242; DirectAU), streamed. `x` [N, d].

    Raises `InputError` for fewer than two rows, which make no pair.
    """
    if len(x) < 2:
        raise InputError("Uniformity needs at least two rows: one row makes no pair.")
    (x,) = tables(x)
    x = F.normalize(x, dim=-1) if normalise else x
    itself = Exclude(torch.arange(len(x), device=x.device))
    left, right = negative_squared_distance(x, x)
    rows = row_lse(t * left, right, terms=(itself,), tile=tile)
    return finite(rows.logsumexp(0) - log(len(x) * (len(x) - 1)), the_rows=x)


def joint_entropy(x: Tensor, y: Tensor, *, temperature: float = 0.5, tile: Tile | str | None = "auto") -> Tensor:
    """How independent two parts of a representation are, least where they are: SepCLR's term (ICLR 2024).

    mean_i log mean_j exp(-(|x_i - x_j|^2 + |y_i - y_j|^2) / (2 temperature)), i = j included; `x` [N, d], `y` [N, e].
    """
    refuse_temperature(temperature)
    x, y = tables(x, y, least=1, one_width=False)
    same_rows(x, y)
    joined = torch.cat([x, y], 1)
    left, right = negative_squared_distance(joined, joined)
    return finite(row_lse(left / (2 * temperature), right, tile=tile).mean() - log(len(joined)), the_rows=joined)


def barlow_twins(a: Tensor, b: Tensor, *, redundancy_weight: float = 0.005, epsilon: float = 1e-5) -> Tensor:
    """Barlow Twins (arXiv 2103.03230): correlations C [d, d] of two views are drawn to the identity.

    sum_k (C_kk - 1)^2 + redundancy_weight sum_{k != l} C_kl^2, summed, not averaged; features are standardised over the
    batch with the biased variance plus `epsilon`. `a` and `b` [N, d], N > 1.
    """
    _check_rows("Barlow Twins", a)
    first, second = tables(a, b)
    same_rows(a, b)
    with torch.autocast(a.device.type, enabled=False):
        x, y = (F.batch_norm(z, None, None, training=True, eps=epsilon) for z in (first, second))
        square = (x.T @ y / len(x) - torch.eye(x.shape[1], dtype=x.dtype, device=x.device)).square()
    on_diagonal = square.diagonal().sum()
    loss = on_diagonal + redundancy_weight * (square.sum() - on_diagonal)
    return finite(loss, the_first_view=a, the_second_view=b)


def vicreg(
    a: Tensor,
    b: Tensor,
    *,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    epsilon: float = 1e-4,
) -> Tensor:
    """VICReg (arXiv 2105.04906), the weighted sum of three terms over views `a` and `b` [N, d], N > 1.

    Invariance: mean squared difference over all N d entries. Variance: hinge 1 - sqrt(var + epsilon), mean over
    features and views. Covariance: squared off-diagonal entries of each view's covariance over d, summed over views.
    Variances and covariances divide by N - 1.
    """
    _check_rows("VICReg", a)
    a, b = tables(a, b)
    same_rows(a, b)
    invariance = F.mse_loss(a, b)
    variance = sum(F.relu(1 - (z.var(0) + epsilon).sqrt()).mean() for z in (a, b)) / 2
    covariance = sum(_off_diagonal_square(z) / z.shape[1] for z in (a, b))
    loss = invariance_weight * invariance + variance_weight * variance + covariance_weight * covariance
    return finite(loss, the_first_view=a, the_second_view=b)


def _check_rows(name: str, z: Tensor) -> None:
    if len(z) < 2:
        raise InputError(f"{name} needs at least two rows: one row has no variance.")


def _off_diagonal_square(z: Tensor) -> Tensor:
    centred = z - z.mean(0)
    with torch.autocast(z.device.type, enabled=False):
        square = (centred.T @ centred / (len(z) - 1)).square()
    return square.sum() - square.diagonal().sum()
