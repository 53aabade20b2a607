"""Whether representations collapse."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.objectives.noncontrastive import alignment, uniformity


class Spread(NamedTuple):
    """How representations lie on the sphere."""

    alignment: float
    """Mean squared distance of the two sides of a pair; 0 is perfect."""
    uniformity: float
    """Log of the mean Gaussian potential; lower is more spread, 0 is one point (Wang & Isola, ICML 2020)."""
    effective_rank: float
    """Exponential of the entropy of normalised singular values (Roy & Vetterli, 2007); 1 is a line."""


@torch.no_grad()
def spread(
    x: Tensor, pairs: tuple[Tensor, Tensor] | None = None, *, generator: torch.Generator, sample: int = 4096
) -> Spread:
    """Judge rows of `x` [N, d]; `pairs` are numbers of rows [P], [P] that belong together (NaN without them).

    Uniformity and rank look at `sample` rows at most, alignment at as many pairs; `generator` (on the CPU) draws them.
    """
    rows = torch.randperm(len(x), generator=generator)[:sample].to(x.device)
    unit = F.normalize(x.float().index_select(0, rows), dim=1)
    aligned = float("nan")
    if pairs is not None and len(pairs[0]):
        chosen = torch.randint(len(pairs[0]), (min(sample, len(pairs[0])),), generator=generator).to(x.device)
        left, right = (x.index_select(0, side.to(x.device).index_select(0, chosen)) for side in pairs)
        aligned = float(alignment(left, right))
    return Spread(aligned, float(uniformity(unit)) if len(unit) > 1 else 0.0, effective_rank(unit))


def effective_rank(x: Tensor) -> float:
    """Between 1 and d for rows `x` [n, d] that are not all zero; 0 if they are. Rows are not centred."""
    singular = torch.linalg.svdvals(x.double())
    total = singular.sum()
    if total == 0:
        return 0.0
    share = singular / total
    return float(torch.special.entr(share).sum().exp())
