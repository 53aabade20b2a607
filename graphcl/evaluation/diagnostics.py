"""Whether representations collapse."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.objectives.noncontrastive import uniformity


class Spread(NamedTuple):
    """How representations lie on the sphere."""

    uniformity: float
    """Log of the mean Gaussian potential; lower is more spread, 0 is one point (Wang & Isola, ICML 2020)."""
    effective_rank: float
    """Exponential of the entropy of normalised singular values (Roy & Vetterli, 2007); 1 is a line."""


@torch.no_grad()
def spread(x: Tensor) -> Spread:
    """Judge rows of `x` [n, d] by their directions; sample them where they are many, the cost is O(n^2 d)."""
    unit = F.normalize(x.float(), dim=1)
    return Spread(float(uniformity(unit)) if len(unit) > 1 else 0.0, effective_rank(unit))


def effective_rank(x: Tensor) -> float:
    """Between 1 and d for rows `x` [n, d] that are not all zero; 0 if they are. Rows are not centred."""
    singular = torch.linalg.svdvals(x.double())
    total = singular.sum()
    if total == 0:
        return 0.0
    share = singular / total
    return float(torch.special.entr(share).sum().exp())
