"""The authors' models as their descriptions have them: plain torch modules on padded rows, with the authors' names.

Written apart from `recsys`, as the other side of comparisons: items count from 1, 0 is padding, every column is
computed, and masks are additive, -10000.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def norm(size: int) -> nn.LayerNorm:
    return nn.LayerNorm(size, eps=1e-12)


class SelfAttention(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.dense = (nn.Linear(size, size) for _ in range(4))
        self.LayerNorm = norm(size)

    def forward(self, x: Tensor, mask: Tensor, heads: int) -> Tensor:
        B, L, d = x.shape
        q, k, v = (f(x).view(B, L, heads, -1).permute(0, 2, 1, 3) for f in (self.query, self.key, self.value))
        weight = (q @ k.transpose(-1, -2) / math.sqrt(d / heads) + mask).softmax(-1)
        return self.LayerNorm(x + self.dense((weight @ v).permute(0, 2, 1, 3).reshape(B, L, d)))


class FeedForward(nn.Module):
    def __init__(self, size: int, inner: int) -> None:
        super().__init__()
        self.dense_1, self.dense_2 = nn.Linear(size, inner), nn.Linear(inner, size)
        self.LayerNorm = norm(size)

    def forward(self, x: Tensor) -> Tensor:
        h = self.dense_1(x)
        return self.LayerNorm(x + self.dense_2(h * 0.5 * (1 + torch.erf(h / math.sqrt(2)))))


class Layer(nn.Module):
    """`halves` are what the two halves are called."""

    def __init__(self, size: int, inner: int, halves: tuple[str, str]) -> None:
        super().__init__()
        self.halves = halves
        self.add_module(halves[0], SelfAttention(size))
        self.add_module(halves[1], FeedForward(size, inner))

    def forward(self, x: Tensor, mask: Tensor, heads: int) -> Tensor:
        attention, feed_forward = (getattr(self, half) for half in self.halves)
        return feed_forward(attention(x, mask, heads))


class Stack(nn.Module):
    def __init__(self, layers: int, size: int, inner: int, halves: tuple[str, str]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(size, inner, halves) for _ in range(layers))


class Official(nn.Module):
    """What the three authors' models share: a table of items, padding, and scores by inner products."""

    table: str
    left: bool
    length: int

    def draw(self) -> None:
        """Weights unlike any initial ones, row 0 included."""
        for parameter in self.parameters():
            nn.init.normal_(parameter, mean=0.05, std=0.3 if parameter.dim() > 1 else 0.1)

    def padded(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """[B, L] the last L items of each row."""
        recent = [list(row[-self.length :]) for row in rows]
        empty = [[0] * (self.length - len(row)) for row in recent]
        return torch.tensor([e + row if self.left else row + e for e, row in zip(empty, recent, strict=True)])

    @torch.no_grad()
    def scores(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """[B, I] for the items 1 to I; no row may be empty."""
        sequence = self.padded(rows)
        last = [self.length if self.left else min(len(row), self.length) for row in rows]
        state = self.states(sequence)[torch.arange(len(rows)), torch.tensor(last) - 1]
        return state @ getattr(self, self.table).weight[1:-1].T

    def states(self, sequence: Tensor) -> Tensor:
        raise NotImplementedError


class OfficialTransformer(Official):
    def __init__(self, items: int, names: dict[str, str], *, left: bool, size: int, length: int, inner: int) -> None:
        super().__init__()
        self.names, self.left, self.length, self.table = names, left, length, names["items"]
        self.add_module(names["items"], nn.Embedding(items + 2, size))
        self.add_module(names["positions"], nn.Embedding(length, size))
        self.LayerNorm = norm(size)
        self.add_module(names["stack"], Stack(2, size, inner, (names["attention"], names["feed_forward"])))
        self.draw()

    def states(self, sequence: Tensor) -> Tensor:
        items, positions, stack = (getattr(self, self.names[part]) for part in ("items", "positions", "stack"))
        x = self.LayerNorm(items(sequence) + positions(torch.arange(self.length)))
        allowed = (sequence > 0)[:, None, None] & torch.ones(self.length, self.length, dtype=torch.bool).tril()
        mask = torch.where(allowed, 0.0, -10000.0)
        for layer in stack.layer:
            x = layer(x, mask, 2)
        return x


class OfficialGRU(Official):
    def __init__(self, items: int, *, size: int, length: int) -> None:
        super().__init__()
        self.left, self.length, self.table = True, length, "item_embeddings"
        self.item_embeddings = nn.Embedding(items + 2, size)
        self.gru_layers = nn.GRU(size, 2 * size, bias=False, batch_first=True)
        self.dense = nn.Linear(2 * size, size)
        self.draw()

    def states(self, sequence: Tensor) -> Tensor:
        return self.dense(self.gru_layers(self.item_embeddings(sequence))[0])


ICSREC = {
    "items": "item_embeddings",
    "positions": "position_embeddings",
    "stack": "item_encoder",
    "attention": "attention",
    "feed_forward": "intermediate",
}
MCLREC = {
    "items": "item_embedding",
    "positions": "position_embedding",
    "stack": "trm_encoder",
    "attention": "multi_head_attention",
    "feed_forward": "feed_forward",
}


def official(method: str, items: int, *, size: int = 64, length: int = 50) -> Official:
    """ "icsrec", "icsrec-gru" or "mclrec" with drawn weights."""
    torch.manual_seed(len(method))
    if method == "icsrec-gru":
        return OfficialGRU(items, size=size, length=length)
    names, left = (ICSREC, True) if method == "icsrec" else (MCLREC, False)
    return OfficialTransformer(items, names, left=left, size=size, length=length, inner=4 * size)
