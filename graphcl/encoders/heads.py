"""What stands between an encoder and a contrastive loss, and is thrown away after training."""

import torch.nn.functional as F
from torch import Tensor, nn


class UnitHead(nn.Module):
    """normalize(tanh(W z + b)): rows of length one (MEOW)."""

    def __init__(self, embedding_size: int, projection_size: int | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_size, projection_size or embedding_size)

    def forward(self, z: Tensor) -> Tensor:
        """[N, d] -> [N, d']"""
        return F.normalize(self.linear(z).tanh(), dim=1)


class MLPHead(nn.Module):
    """W2 ELU(W1 z + b1) + b2, the head of GRACE and HeCo."""

    def __init__(self, embedding_size: int, hidden_size: int | None = None) -> None:
        super().__init__()
        self.hidden = nn.Linear(embedding_size, hidden_size or embedding_size)
        self.out = nn.Linear(hidden_size or embedding_size, embedding_size)

    def forward(self, z: Tensor) -> Tensor:
        """[N, d] -> [N, d]"""
        return self.out(F.elu(self.hidden(z)))
