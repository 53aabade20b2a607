"""The causal transformer of SASRec (Kang and McAuley, ICDM 2018), post-norm as in RecBole, ICLRec and ICSRec."""

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphcl.errors import InputError
from recsys.encoders.base import SequenceEncoder
from recsys.encoders.dropout import Dropout
from recsys.encoders.layout import Block, Layout

EPSILON = 1e-12
"""Added to the variance by every layer norm, as the authors of these models do."""
HIDDEN = -3e4
"""Added to logits of hidden entries: finite, lest the softmax be empty where all the past is hidden; fits float16."""


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
        x, unseen = self.enter(x, layout), None if hidden is None else layout.spread(hidden.to(x.dtype) * HIDDEN)
        for layer in self.layers[:-1]:
            x = layer(x, layout, unseen)
        top = cast(TransformerLayer, self.layers[-1])
        return top.last(x, layout, unseen)[layout.place]

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

    def forward(self, x: Tensor, layout: Layout, unseen: Tensor | None) -> Tensor:
        """[slots, d] -> [slots, d]; `unseen` [slots] is added to the logits of each entry."""
        return self.feed_forward(self.attention(x, layout, unseen))

    def last(self, x: Tensor, layout: Layout, unseen: Tensor | None) -> Tensor:
        """[slots, d] -> [R, d] for the last entry of each row, in the order of the blocks."""
        return self.feed_forward(self.attention.last(x, layout, unseen))


class Attention(nn.Module):
    """Multi-head causal self-attention with residual and norm."""

    def __init__(self, embedding_size: int, n_heads: int, hidden_dropout: float, attention_dropout: float) -> None:
        super().__init__()
        if embedding_size % n_heads:
            raise InputError(f"embedding_size {embedding_size} must be a multiple of n_heads {n_heads}")
        self.n_heads, self.dropout_of_weights = n_heads, Dropout(attention_dropout)
        self.query = nn.Linear(embedding_size, embedding_size)
        self.key = nn.Linear(embedding_size, embedding_size)
        self.value = nn.Linear(embedding_size, embedding_size)
        self.output = nn.Linear(embedding_size, embedding_size)
        self.dropout = Dropout(hidden_dropout)
        self.norm = nn.LayerNorm(embedding_size, EPSILON)

    def forward(self, x: Tensor, layout: Layout, unseen: Tensor | None) -> Tensor:
        """[slots, d] -> [slots, d]; `unseen` [slots] is added to the logits of each entry."""
        parts = (self.query, self.key, self.value)
        mixed = F.linear(x, torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts]))
        pieces = mixed.split([block.stop - block.start for block in layout.blocks])
        seen = [
            self.attend(piece.view(block.rows, block.length, 3, self.n_heads, -1), block.cut(unseen))
            for block, piece in zip(layout.blocks, pieces, strict=True)
        ]
        return self.leave(torch.cat(seen), x)

    def attend(self, mixed: Tensor, unseen: Tensor | None) -> Tensor:
        """Queries, keys and values [rows, length, 3, heads, d / heads] of one block -> [rows * length, d].

        Each entry sees itself and those before it, which hides the padding, too. `unseen` is [rows, length]. On a CPU
        torch's own attention is slow once it drops weights.
        """
        rows, length, _, heads, size = mixed.shape
        if mixed.is_cuda or not (self.training and self.dropout_of_weights.p):
            query, key, value = mixed.permute(2, 0, 3, 1, 4)
            dropout = self.dropout_of_weights.p if self.training else 0.0
            bias = None if unseen is None else causal_bias(mixed, unseen).unsqueeze(1)
            seen = F.scaled_dot_product_attention(query, key, value, bias, dropout, is_causal=bias is None)
        else:
            query, key, value = mixed.permute(2, 0, 3, 1, 4).reshape(3, rows * heads, length, size)
            bias = causal_bias(mixed, None if unseen is None else unseen.repeat_interleave(heads, 0))
            weight = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=size**-0.5).softmax(2)
            seen = (self.dropout_of_weights(weight) @ value).view(rows, heads, length, size)
        return seen.transpose(1, 2).reshape(rows * length, heads * size)

    def last(self, x: Tensor, layout: Layout, unseen: Tensor | None) -> Tensor:
        """[slots, d] -> [R, d] for the last entry of each row, in the order of the blocks.

        One query a row: its map of keys is applied to the query instead of to every slot (q . W x = W'q . x), and the
        map of values to the mean of what was seen. Keys and values of all slots are never computed.
        """
        newest = x[layout.last]
        query = self.query(newest).view(len(newest), self.n_heads, -1)
        query = query * query.shape[-1] ** -0.5
        asked = torch.einsum("rhe,hed->rhd", query, self.by_head(self.key.weight))
        shift = (query * self.by_head(self.key.bias)).sum(2, keepdim=True)
        rows = [block.rows for block in layout.blocks]
        pieces = x.split([block.stop - block.start for block in layout.blocks])
        seen, share = [], []
        for block, piece, q, s in zip(layout.blocks, pieces, asked.split(rows), shift.split(rows), strict=True):
            entries = piece.view(block.rows, block.length, -1)
            bias = padding_bias(block, block.cut(unseen), x)
            logits = torch.baddbmm(s if bias is None else s + bias, q, entries.transpose(1, 2))
            weight = self.dropout_of_weights(logits.softmax(2))
            seen.append(weight @ entries)
            share.append(weight.sum(2, keepdim=True))
        value = torch.einsum("rhd,hed->rhe", torch.cat(seen), self.by_head(self.value.weight))
        return self.leave((value + torch.cat(share) * self.by_head(self.value.bias)).flatten(1), newest)

    def by_head(self, parameter: Tensor) -> Tensor:
        """[d, ...] -> [heads, d / heads, ...]."""
        return parameter.unflatten(0, (self.n_heads, -1))

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
    keeps code and buffers for each number of rows (a gigabyte in an epoch, where each batch has its own), and is slower
    backwards.
    """
    return F.gelu(x.t()).t()


def causal_bias(mixed: Tensor, unseen: Tensor | None) -> Tensor:
    """[rows or 1, length, length] what is added to logits so that entries see themselves and those before them."""
    length = mixed.shape[1]
    future = mixed.new_full((1, length, length), -torch.inf).triu_(1)
    return future if unseen is None else future + unseen.unsqueeze(1)


def padding_bias(block: Block, unseen: Tensor | None, like: Tensor) -> Tensor | None:
    """[rows, 1, length] the same for the last entry of each row; None where it sees the whole block."""
    if unseen is None and block.full:
        return None
    real = torch.arange(block.length, device=like.device) < block.lengths.unsqueeze(1)
    return (like.new_zeros(()) if unseen is None else unseen).where(real, -torch.inf).unsqueeze(1)
