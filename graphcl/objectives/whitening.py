"""Shuffled group whitening: other views of the same rows, by other groups of decorrelated features."""

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.ops import full_precision


def group_whitening(
    x: Tensor, n_groups: int, *, permutation: Tensor | None = None, epsilon: float = 1e-5, detach: bool = True
) -> Tensor:
    r"""Whitens groups of features over the batch: [N, d] -> [N, d] (WhitenedCSE; Zhuo et al., ACL 2023).

    Features in the order of `permutation` [d] (as they are if None) are cut into groups of $g = d / G$; each is centred
    and multiplied by $(X^\top X / N + \epsilon I)^{-1/2}$; the order is restored. Every permutation makes another view:
    one of them the anchor, the others positives of a contrast. No gradient flows through the matrix where `detach`, as
    in the authors' code, which has no epsilon.

    Raises:
        InputError: the groups are not of one size, there are no more rows than features in one, or an order of features
            is none.
    """
    rows, size = x.shape
    if n_groups < 1 or size % n_groups:
        raise InputError(f"n_groups: {size} features do not fall into {n_groups} groups of one size.")
    if rows <= size // n_groups:
        raise InputError(f"{rows} rows are too few to whiten {size // n_groups} features together; take twice as many.")
    if permutation is not None and sorted(permutation.tolist()) != list(range(size)):
        raise InputError(f"permutation: must name each of the {size} features once.")
    x = full_precision(x)
    order = torch.arange(size, device=x.device) if permutation is None else permutation
    with torch.autocast(x.device.type, enabled=False):
        groups = x[:, order].view(rows, n_groups, -1).transpose(0, 1)
        centred = groups - groups.mean(1, keepdim=True)
        covariance = centred.mT @ centred / rows
        covariance = covariance.detach() if detach else covariance
        spread, axes = torch.linalg.eigh(covariance)
        matrix = axes * (spread.clamp(min=0.0) + epsilon).rsqrt().unsqueeze(-2) @ axes.mT
        whitened = (centred @ matrix).transpose(0, 1).reshape(rows, size)
    return whitened[:, order.argsort()]
