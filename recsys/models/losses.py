"""Ranking losses that several models share. Each is a mean over the rows of the batch."""

import torch.nn.functional as F
from torch import Tensor


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    r"""Bayesian personalised ranking, the mean of $-\log \sigma(s^+ - s^-)$ (Rendle et al., UAI 2009, eq. 4).

    positive: [B] or [B, 1] scores; negative: [B] or [B, n] scores.
    """
    if negative.dim() > positive.dim():
        positive = positive.unsqueeze(-1)
    return F.softplus(negative - positive).mean()


def bce(positive: Tensor, negative: Tensor) -> Tensor:
    r"""Binary cross-entropy $-\log \sigma(s^+) - \log(1 - \sigma(s^-))$; each part is the mean over its own entries."""
    return F.softplus(-positive).mean() + F.softplus(negative).mean()


def l2(*rows: Tensor, batch_size: int) -> Tensor:
    """Half the sum of squares of all rows, over the batch size (the penalty of LightGCN's authors)."""
    return sum(block.square().sum() for block in rows) / (2 * batch_size)  # type: ignore[return-value]
