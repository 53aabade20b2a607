"""Fusing several views of the same nodes by attention."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SemanticAttention(nn.Module):
    """A weighted sum of views, one weight per view and graph (HAN, Wang et al., WWW 2019, equations 7 to 9).

        score_v = a . mean_i tanh(W z_vi + b),  beta = softmax(score),  z = sum_v beta_v z_v

    Dropout falls on `a` itself, as HeCo and MEOW have it. W and a start Xavier normal with gain 1.414.
    """

    def __init__(self, embedding_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.transform = nn.Linear(embedding_size, embedding_size)
        self.query = nn.Parameter(torch.empty(1, embedding_size))
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_normal_(self.transform.weight, gain=1.414)
        nn.init.xavier_normal_(self.query, gain=1.414)

    def weights(self, views: Sequence[Tensor]) -> Tensor:
        """[V] how much each of the V views [N, d] counts; they sum to one."""
        means = torch.stack([self.transform(view).tanh().mean(0) for view in views])
        return (means @ self.dropout(self.query)[0]).softmax(0)

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """The fused rows [N, d]."""
        weights = self.weights(views)
        fused = weights[0] * views[0]
        for weight, view in zip(weights[1:], views[1:], strict=True):
            fused = fused + weight * view
        return fused
