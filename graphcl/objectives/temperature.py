"""NT-Xent with a temperature that follows how well the views agree (Huang et al., arXiv 2207.07874)."""

import torch
from torch import Tensor

from graphcl.objectives.finite import finite
from graphcl.objectives.named import NTXent
from graphcl.objectives.pairing import same_rows
from graphcl.objectives.tables import tables


def alignment_tempered(
    a: Tensor, b: Tensor, *, temperature: float = 0.1, strength: float = 0.5, reference: float = 0.0
) -> Tensor:
    """MACL: mean over both views of `NTXent`'s row losses, each over the chance of a wrong choice.

    The temperature is `temperature` (1 + `strength` (A - `reference`)), A the mean cosine of the positives: it rises as
    they align, so that negatives that may be alike are spared. A row whose positive has the probability p has the
    weight 1 / (1 - p + 1e-8). Temperature and weights are constants to the gradient. `a` and `b` [N, d], N > 0.
    """
    a, b = tables(a, b, least=1)
    same_rows(a, b)
    with torch.autocast(a.device.type, enabled=False), torch.no_grad():
        aligned = finite(torch.cosine_similarity(a, b).mean(), the_first_view=a, the_second_view=b)
        now = float(temperature * (1 + strength * (aligned - reference)))
    rows = NTXent(now, reduction="none")(a, b)
    weight = 1 / (1 - (-rows.detach()).exp() + 1e-8)
    return finite((weight * rows).mean(), the_first_view=a, the_second_view=b)
