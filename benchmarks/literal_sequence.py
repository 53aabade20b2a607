"""ICSRec's and MCLRec's steps, evaluation and data pass as their authors' code does them, said again literally.

Written from the description of that code as the yardstick of `speed_sequence`: every encoding is padded to full length,
every position goes through every layer, norms and GELU are spelt out, masks are built entry by entry, samples are
Python lists. It computes what the library computes; nothing here is used elsewhere.
"""

import math
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

MASKED = -10000.0


class SpeltNorm(nn.Module):
    """Layer norm in five operations."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] -> [..., d]."""
        mean = x.mean(-1, keepdim=True)
        variance = (x - mean).pow(2).mean(-1, keepdim=True)
        return self.weight * ((x - mean) / torch.sqrt(variance + 1e-12)) + self.bias


class SpeltLayer(nn.Module):
    """One post-norm transformer layer on padded rows."""

    def __init__(self, size: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.dense = (nn.Linear(size, size) for _ in range(4))
        self.dense_1, self.dense_2 = nn.Linear(size, inner), nn.Linear(inner, size)
        self.norm_1, self.norm_2 = SpeltNorm(size), SpeltNorm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, L, d], [B, 1, L, L] -> [B, L, d]."""
        B, L, d = x.shape
        query, key, value = (
            f(x).view(B, L, self.heads, -1).permute(0, 2, 1, 3) for f in (self.query, self.key, self.value)
        )
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(d / self.heads) + mask
        context = torch.matmul(self.dropout(nn.Softmax(dim=-1)(scores)), value)
        context = context.permute(0, 2, 1, 3).contiguous().view(B, L, d)
        x = self.norm_1(self.dropout(self.dense(context)) + x)
        hidden = self.dense_1(x)
        hidden = hidden * 0.5 * (1.0 + torch.erf(hidden / math.sqrt(2.0)))
        return self.norm_2(self.dropout(self.dense_2(hidden)) + x)


class PaddedSASRec(nn.Module):
    """The encoder of both methods. `left` says where the padding is; items count from 1, 0 is padding."""

    def __init__(self, num_items: int, *, size: int, length: int, layers: int, heads: int, left: bool) -> None:
        super().__init__()
        self.left, self.length, self.num_items = left, length, num_items
        self.items = nn.Embedding(num_items + 2, size, padding_idx=0)
        self.positions = nn.Embedding(length, size)
        self.norm, self.dropout = SpeltNorm(size), nn.Dropout(0.5)
        self.layers = nn.ModuleList(SpeltLayer(size, heads, 4 * size, 0.5) for _ in range(layers))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, sequence: Tensor) -> Tensor:
        """[B, L] -> [B, L, d]."""
        length = sequence.shape[1]
        keys = (sequence > 0).long().unsqueeze(1).unsqueeze(2)
        causal = (torch.triu(torch.ones((1, length, length)), diagonal=1) == 0).unsqueeze(1).long()
        mask = (1.0 - (keys * causal).float()) * MASKED
        position = torch.arange(length).unsqueeze(0).expand_as(sequence)
        x = self.dropout(self.norm(self.items(sequence) + self.positions(position)))
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def last(self, sequence: Tensor) -> Tensor:
        """[B, L] -> [B, d] at the last item."""
        x = self.forward(sequence)
        if self.left:
            return x[:, -1]
        return x[torch.arange(len(x)), (sequence_lengths(sequence) - 1)]


def sequence_lengths(sequence: Tensor) -> Tensor:
    """[B] where the last item of right-padded rows stands, plus one (padding inside a row is a mask)."""
    place = torch.arange(1, sequence.shape[1] + 1) * (sequence > 0)
    return place.max(1).values.clamp(min=1)


def padded(rows: Sequence[Sequence[int]], length: int, *, left: bool) -> Tensor:
    """Lists of items from 1 -> [B, L]."""
    filled = [[0] * (length - len(row)) + list(row) if left else list(row) + [0] * (length - len(row)) for row in rows]
    return torch.tensor(filled)


def nce(a: Tensor, b: Tensor, labels: Tensor | None = None) -> Tensor:
    """NT-Xent with inner products, the logits put together column by column as the authors do."""
    size = len(a)
    z = torch.cat([a, b])
    sim = z @ z.T
    positive = torch.cat([torch.diag(sim, size), torch.diag(sim, -size)]).reshape(2 * size, 1)
    if labels is not None:
        labels = labels.repeat(2)
        mask = labels[:, None] == labels[None, :]
        negative = sim.masked_fill(mask, float("-inf"))
    else:
        negative = sim[entry_mask(size)].reshape(2 * size, -1)
    logits = torch.cat([positive, negative], dim=1)
    return nn.CrossEntropyLoss()(logits, torch.zeros(2 * size, dtype=torch.long))


def entry_mask(size: int) -> Tensor:
    """[2B, 2B] bool: neither oneself nor one's positive, switched off one by one."""
    mask = torch.ones((2 * size, 2 * size), dtype=torch.bool).fill_diagonal_(0)
    for i in range(size):
        mask[i, size + i] = 0
        mask[size + i, i] = 0
    return mask


def margin(a: Tensor, b: Tensor) -> Tensor:
    """MCLRec's regulariser."""
    size = len(a)
    z = torch.cat([a, b])
    sim = z @ z.T
    positive = torch.cat([torch.diag(sim, size), torch.diag(sim, -size)]).reshape(2 * size, 1)
    negative = sim[entry_mask(size)].reshape(2 * size, -1)
    hardest = negative.max(dim=1, keepdim=True).values
    low, high = torch.min(positive, hardest), torch.max(positive, hardest)
    return F.relu(positive - low).mean() + F.relu(high - negative).mean()


def icsrec_step(
    model: PaddedSASRec, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, ...], centroids: Tensor
) -> float:
    """One update: three encodings, full softmax, coarse and fine contrasts (clusters looked up in NumPy)."""
    first, target, second = batch
    logits = model.last(first) @ model.items.weight.T
    loss = nn.CrossEntropyLoss()(logits, target)
    views = model.last(first), model.last(second)
    loss = loss + 0.3 * nce(*views, labels=target)
    unit = F.normalize(centroids, dim=1)
    for view in views:
        distance = torch.cdist(torch.from_numpy(view.detach().numpy()), centroids).numpy()
        found = torch.tensor([int(k) for k in distance.argmin(1)])
        loss = loss + 0.1 * nce(view, unit[found], labels=found)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def mclrec_step(
    model: PaddedSASRec,
    augmenters: nn.ModuleList,
    optimizers: Sequence[torch.optim.Optimizer],
    batch: tuple[Tensor, ...],
) -> float:
    """Three updates: encoder, augmenters, encoder; each encodes the history and both views."""
    history, target, first, second = batch
    total = 0.0
    for turn in (0, 1, 0):
        state, h1, h2 = (model.last(rows) for rows in (history, first, second))
        z1, z2 = (F.normalize(augmenter(h), dim=1) for augmenter, h in zip(augmenters, (h1, h2), strict=True))
        pairs = ((h1, z2), (h2, z1), (z1, z2))
        meta = torch.stack([nce(a, b) + 0.1 * margin(a, b) for a, b in pairs]).sum()
        contrast = 0.0 * nce(h1, h2)
        if turn == 0:
            logits = state @ model.items.weight[: model.num_items + 1].T
            meta = nn.CrossEntropyLoss()(logits, target) + 0.05 * meta
        loss = meta + contrast
        model.zero_grad()
        augmenters.zero_grad()
        loss.backward()
        optimizers[turn].step()
        total += loss.item()
    return total


def evaluation(
    model: PaddedSASRec, seen: Sequence[Sequence[int]], answers: Sequence[int], batch_size: int = 256
) -> list[float]:
    """HR@k and NDCG@k over 5, 10, 15, 20: dense scores, seen items set to 0, argpartition, loops over users."""
    model.eval()
    shown = []
    with torch.no_grad():
        for start in range(0, len(seen), batch_size):
            rows = seen[start : start + batch_size]
            sequence = padded([row[-model.length :] for row in rows], model.length, left=True)
            scores = (model.last(sequence) @ model.items.weight.T).numpy().copy()
            known = np.zeros(scores.shape, dtype=bool)
            for user, row in enumerate(rows):
                known[user, list(row)] = True
            scores[known] = 0
            best = np.argpartition(scores, -20)[:, -20:]
            inner = np.take_along_axis(scores, best, 1)
            shown.append(np.take_along_axis(best, np.argsort(inner)[:, ::-1], 1))
    model.train()
    lists = np.concatenate(shown).tolist()
    values = []
    for k in (5, 10, 15, 20):
        hits, gains = 0.0, 0.0
        for answer, items in zip(answers, lists, strict=True):
            for rank, item in enumerate(items[:k]):
                if item == answer:
                    hits += 1
                    gains += 1 / math.log2(rank + 2)
        values += [hits / len(answers), gains / len(answers)]
    return values


def data_pass(samples: Sequence[tuple[list[int], int]], length: int, batch_size: int) -> Iterator[tuple[Tensor, ...]]:
    """One epoch of ICSRec's batches: for each sample its whole bucket is walked for the last differing list."""
    buckets: dict[int, list[list[int]]] = {}
    for row, target in samples:
        buckets.setdefault(target, []).append(row)
    order = random.Random(0).sample(range(len(samples)), len(samples))
    for start in range(0, len(order), batch_size):
        rows, targets, partners = [], [], []
        for number in order[start : start + batch_size]:
            row, target = samples[number]
            partner = row
            for other in buckets[target]:
                if other != row:
                    partner = other
            rows.append(row)
            targets.append(target)
            partners.append(partner)
        yield padded(rows, length, left=True), torch.tensor(targets), padded(partners, length, left=True)
