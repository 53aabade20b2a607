"""The margin regulariser of MCLRec (SIGIR 2023), as its code has it, with streamed row maxima."""

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.finite import finite
from graphcl.objectives.kernel import row_argmax
from graphcl.objectives.pairing import across_and_within
from graphcl.objectives.similarity import Similarity, dot
from graphcl.objectives.tables import refuse_temperature, tables
from graphcl.objectives.weights import Exclude


def margin_regulariser(a: Tensor, b: Tensor, *, temperature: float = 1.0, similarity: Similarity = dot) -> Tensor:
    """Pulls against NT-Xent: a positive should not beat its hardest negative, nor negatives lie far below the top.

    `a` and `b` [B, d] are two views; every row of either is an anchor with positive logit p_i, negative logits n_ij
    (both views, neither itself nor its positive) and m_i = max_j n_ij. Returns the scalar

        mean_i [p_i - min(p_i, m_i)] + mean_ij [max(p_i, m_i) - n_ij]

    over 2B anchors and 2B - 2 negatives each. Raises `InputError` for fewer than two rows, which have no negatives.
    """
    if len(a) < 2:
        raise InputError("The margin regulariser needs at least two rows: one row has no negatives.")
    refuse_temperature(temperature)
    with torch.autocast(a.device.type, enabled=False):
        pairs = across_and_within(*tables(a, b))
        x, y = similarity(pairs.anchors, pairs.candidates)
        x = x / temperature
        own = torch.arange(len(x), device=x.device)
        other = own.roll(len(a))
        hardest = row_argmax(x, y, terms=(Exclude(own), Exclude(other)))
        positive, top = (x * y[other]).sum(1), (x * y[hardest]).sum(1)
        total = (x * (y.sum(0) - y[own] - y[other])).sum(1)
        low, high = torch.minimum(positive, top), torch.maximum(positive, top)
        loss = (positive - low).mean() + (high - total / (len(x) - 2)).mean()
        return finite(loss, the_first_view=a, the_second_view=b)
