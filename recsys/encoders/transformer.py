"""The causal transformer of SASRec (Kang and McAuley, ICDM 2018), post-norm as in RecBole, ICLRec and ICSRec."""

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.encoders.base import SequenceEncoder
from recsys.encoders.dropout import Dropout
from recsys.encoders.layout import Block, Layout

EPSILON = 1e-12
"""Added to the variance by every layer norm, as the authors of these models do."""


class TransformerEncoder(SequenceEncoder):
    """Vectors plus learned positions, then layers of causal attention and feed-forward, each followed by its norm.

    `positions` names the entry that owns the fixed position: "oldest" numbers a row 0, 1, ... from its oldest entry
    (right padding: RecBole, MCLRec), "newest" ends every row at `max_length - 1` (left padding: ICLRec, ICSRec).
    Rows are laid out in blocks of like length; entries are stored first in their block, so causality alone hides
    the padding behind them. The top layer works for the last entries only.
    """

    def __init__(
        self,
        embedding_size: int,
        *,
        n_layers: int,
        n_heads: int,
        inner_size: int,
        max_length: int,
        hidden_dropout: float,
        attention_dropout: float,
        positions: Literal["oldest", "newest"] = "oldest",
    ) -> None:
        super().__init__()
        self.max_length, self.counted_from = max_length, positions
        self.positions = nn.Embedding(max_length, embedding_size)
        self.norm = nn.LayerNorm(embedding_size, EPSILON)
        self.dropout = Dropout(hidden_dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(embedding_size, n_heads, inner_size, hidden_dropout, attention_dropout)
            for _ in range(n_layers)
        )

    def forward(self, x: Tensor, offsets: Tensor, hidden: Tensor | None = None) -> Tensor:
        """[n, d] -> [R, d]; see `SequenceEncoder`."""
        layout = Layout.of(offsets)
        x, hidden = self.enter(x, layout), None if hidden is None else layout.spread(hidden)
        for layer in self.layers[:-1]:
            x = layer(x, layout, hidden)
        top = cast(TransformerLayer, self.layers[-1])
        return top.last(x, layout, hidden)[layout.place]

    def every(self, x: Tensor, offsets: Tensor) -> Tensor:
        """[n, d] -> [n, d]; see `SequenceEncoder`."""
        layout = Layout.of(offsets)
        x = self.enter(x, layout)
        for layer in self.layers:
            x = layer(x, layout, None)
        return x[layout.slot]

    def enter(self, x: Tensor, layout: Layout) -> Tensor:
        """[n, d] vectors -> [slots, d] input of the first layer."""
        place = layout.column
        if self.counted_from == "newest":
            place = place + (self.max_length - layout.lengths).repeat_interleave(layout.lengths)
        return layout.spread(self.dropout(self.norm(x + self.positions(place))))


class TransformerLayer(nn.Module):
    """Attention, then feed-forward."""

    def __init__(
        self, embedding_size: int, n_heads: int, inner_size: int, hidden_dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.attention = Attention(embedding_size, n_heads, hidden_dropout, attention_dropout)
        self.feed_forward = FeedForward(embedding_size, inner_size, hidden_dropout)

    def forward(self, x: Tensor, layout: Layout, hidden: Tensor | None) -> Tensor:
        """[slots, d] -> [slots, d]."""
        return self.feed_forward(self.attention(x, layout, hidden))

    def last(self, x: Tensor, layout: Layout, hidden: Tensor | None) -> Tensor:
        """[slots, d] -> [R, d] for the last entry of each row, in the order of the blocks."""
        return self.feed_forward(self.attention.last(x, layout, hidden))


class Attention(nn.Module):
    """Multi-head causal self-attention with residual and norm."""

    def __init__(self, embedding_size: int, n_heads: int, hidden_dropout: float, attention_dropout: float) -> None:
        super().__init__()
        if embedding_size % n_heads:
            raise ValueError(f"embedding_size {embedding_size} must be a multiple of n_heads {n_heads}")
        self.n_heads, self.drop_attention = n_heads, attention_dropout
        self.query = nn.Linear(embedding_size, embedding_size)
        self.key = nn.Linear(embedding_size, embedding_size)
        self.value = nn.Linear(embedding_size, embedding_size)
        self.output = nn.Linear(embedding_size, embedding_size)
        self.dropout = Dropout(hidden_dropout)
        self.norm = nn.LayerNorm(embedding_size, EPSILON)

    def forward(self, x: Tensor, layout: Layout, hidden: Tensor | None) -> Tensor:
        """[slots, d] -> [slots, d]."""
        parts = (self.tables(part(x), layout) for part in (self.query, self.key, self.value))
        seen = [
            self.attend(query, key, value, visible(block, hidden))
            for block, query, key, value in zip(layout.blocks, *parts, strict=True)
        ]
        return self.leave(torch.cat(seen), x)

    def last(self, x: Tensor, layout: Layout, hidden: Tensor | None) -> Tensor:
        """[slots, d] -> [R, d] for the last entry of each row, in the order of the blocks."""
        newest = x[layout.last]
        queries = self.query(newest).split([block.rows for block in layout.blocks])
        keys, values = self.tables(self.key(x), layout), self.tables(self.value(x), layout)
        seen = [
            self.attend(self.heads(query, block.rows), key, value, visible_to_last(block, hidden))
            for block, query, key, value in zip(layout.blocks, queries, keys, values, strict=True)
        ]
        return self.leave(torch.cat(seen), newest)

    def tables(self, x: Tensor, layout: Layout) -> list[Tensor]:
        """[slots, d] -> [rows, heads, length, d / heads] of each block."""
        pieces = x.split([block.stop - block.start for block in layout.blocks])
        return [self.heads(piece, block.rows) for piece, block in zip(pieces, layout.blocks, strict=True)]

    def heads(self, x: Tensor, rows: int) -> Tensor:
        """[rows * length, d] -> [rows, heads, length, d / heads]."""
        return x.view(rows, x.shape[0] // rows, self.n_heads, x.shape[1] // self.n_heads).transpose(1, 2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Tables of one block -> [rows * queries, d]; without a mask each entry sees itself and those before it."""
        dropout = self.drop_attention if self.training else 0.0
        causal = mask is None and query.shape[2] > 1
        seen = F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal)
        return seen.transpose(1, 2).reshape(-1, self.n_heads * query.shape[-1])

    def leave(self, seen: Tensor, x: Tensor) -> Tensor:
        """What was seen, mixed into `x`."""
        return self.norm(x + self.dropout(self.output(seen)))


class FeedForward(nn.Module):
    """Two linear maps around an exact GELU, with residual and norm."""

    def __init__(self, embedding_size: int, inner_size: int, hidden_dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(embedding_size, inner_size)
        self.output = nn.Linear(inner_size, embedding_size)
        self.dropout = Dropout(hidden_dropout)
        self.norm = nn.LayerNorm(embedding_size, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """[n, d] -> [n, d]."""
        return self.norm(x + self.dropout(self.output(gelu(self.inner(x)))))


def gelu(x: Tensor) -> Tensor:
    """[n, d] -> [n, d], exact.

    Shown transposed, so that torch uses its own kernel: the one of oneDNN, which it prefers for contiguous tensors,
    compiles and keeps code for each number of rows (hundreds of MB, as each batch has its own) and is slower backwards.
    """
    return F.gelu(x.t()).t()


def visible(block: Block, hidden: Tensor | None) -> Tensor | None:
    """[rows, 1, length, length] who sees whom, or None where causality says it all.

    An entry whose past is hidden altogether sees itself, lest its softmax be empty; nobody reads it.
    """
    if hidden is None:
        return None
    shown = ~hidden[block.start : block.stop].view(block.rows, 1, block.length)
    allowed = shown & torch.ones(block.length, block.length, dtype=torch.bool, device=hidden.device).tril()
    lonely = ~allowed.any(2, keepdim=True) & torch.eye(block.length, dtype=torch.bool, device=hidden.device)
    return (allowed | lonely).unsqueeze(1)


def visible_to_last(block: Block, hidden: Tensor | None) -> Tensor | None:
    """[rows, 1, 1, length] what the last entry of each row sees, or None where that is the whole block."""
    if hidden is None and block.full:
        return None
    place = torch.arange(block.length, device=block.lengths.device)
    allowed = place < block.lengths.unsqueeze(1)
    if hidden is not None:
        allowed = allowed & ~hidden[block.start : block.stop].view(block.rows, block.length)
        lonely = ~allowed.any(1, keepdim=True) & (place == block.lengths.unsqueeze(1) - 1)
        allowed = allowed | lonely
    return allowed[:, None, None]
