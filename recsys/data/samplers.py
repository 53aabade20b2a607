"""Pairs and negatives for recommenders that learn from comparisons."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from graphcl.errors import InputError
from recsys.data.interactions import Interactions
from recsys.data.ragged import offsets_of

_RESOLUTION = 1 << 40
"""Popularity weights are integers with about this sum: exact arithmetic, yet fine enough for any catalogue."""


class Triples(NamedTuple):
    """A user, an item that they know, and items that they do not."""

    user: Tensor
    """[B] int64."""
    positive: Tensor
    """[B] int64."""
    negative: Tensor
    """[B, n] int64."""


class Negatives:
    r"""Draws items that a user does not know, with probability proportional to popularity to the power `alpha`.

    No rejection: the items a user does not know are laid end to end, each as long as its weight, a point is drawn on
    that line, and one binary search over the user's known items, each at the length of unknown items before it, moves
    the point to the line of all items. Weights are integers, so a known item is impossible, not just rare.
    """

    def __init__(self, user: Tensor, item: Tensor, num_users: int, num_items: int, alpha: float = 0.0) -> None:
        """`user`, `item`: [n] distinct pairs sorted by user, then item. `alpha` 0 is the uniform distribution."""
        weight = _integer_weights(item, num_users, num_items, alpha)
        self._end = weight.cumsum(0)
        self._uniform = alpha == 0
        known = weight[item]
        self._before = offsets_of(known)
        """[n + 1] total weight of the known items before each pair, all users one after another."""
        offsets = offsets_of(torch.bincount(user, minlength=num_users))
        self._base = self._before[offsets[:-1]]
        total = int(self._end[-1])
        self.room = total - (self._before[offsets[1:]] - self._base)
        """[num_users] total weight of the items that each user does not know; 0 leaves nothing to draw."""
        self._stride = total + 1
        self._gap = user * self._stride + (self._end[item] - known) - (self._before[:-1] - self._base[user])

    def draw(self, user: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """[B, count] items unknown to each user of [B]; every one of them must have `room`."""
        room = self.room[user].unsqueeze(1)
        uniform = torch.rand(len(user), count, generator=generator, dtype=torch.float64)
        point = (uniform * room).long().minimum(room - 1)
        passed = torch.searchsorted(self._gap, user.unsqueeze(1) * self._stride + point, right=True)
        place = point + self._before[passed] - self._base[user].unsqueeze(1)
        # With weights of one the place on the line is the item.
        return place if self._uniform else torch.searchsorted(self._end, place, right=True)


class PairSampler:
    """Known pairs, each with items that the user does not know. A pair counts once, however often it was seen.

    users "interactions": an epoch is one pass over all pairs in random order (every pair weighs the same).
    users "uniform": users are drawn with replacement, then one of their items (every user weighs the same); an epoch
    has as many draws as there are pairs, or `epoch_size`. DCCF's and LightGCN's authors do so.
    popularity: exponent of an item's popularity in the choice of negatives; 0 is uniform, 0.75 word2vec's.
    Users who know every item have no negative and are left out.
    """

    def __init__(
        self,
        train: Interactions,
        *,
        negatives: int = 1,
        popularity: float = 0.0,
        users: Literal["interactions", "uniform"] = "interactions",
        epoch_size: int | None = None,
    ) -> None:
        if epoch_size is not None and users == "interactions":
            raise InputError("epoch_size: only users drawn uniformly have an epoch of any size; a pass has its own")
        if users not in ("interactions", "uniform") or negatives < 1 or (epoch_size is not None and epoch_size < 1):
            raise InputError(
                f"users is 'interactions' or 'uniform', negatives and epoch_size are at least 1; "
                f"got {users!r}, {negatives} and {epoch_size}"
            )
        if not len(train):
            raise InputError("train: holds no interaction, so there is nothing to compare")
        pair = torch.unique(train.user * train.num_items + train.item)
        user, item = pair // train.num_items, pair % train.num_items
        self._negatives = Negatives(user, item, train.num_users, train.num_items, popularity)
        usable = self._negatives.room[user] > 0
        self._user, self._item = user[usable], item[usable]
        if not len(self._user):
            raise InputError("train: no user has both a known and an unknown item, so there is nothing to compare")
        self._count, self._uniform = negatives, users == "uniform"
        lengths = torch.bincount(self._user, minlength=train.num_users)
        self._active = lengths.nonzero().flatten()
        self._start = offsets_of(lengths)[self._active]
        self._length = lengths[self._active]
        self.epoch_size = epoch_size or len(self._user)

    def steps(self, batch_size: int) -> int:
        """How many batches an epoch has; the last may be smaller."""
        return -(-self.epoch_size // batch_size)

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Triples]:
        """One epoch of `Triples`."""
        order = None if self._uniform else torch.randperm(self.epoch_size, generator=generator)
        for start in range(0, self.epoch_size, batch_size):
            size = min(batch_size, self.epoch_size - start)
            pair = self._draw_pairs(size, generator) if order is None else order[start : start + size]
            user = self._user[pair]
            yield Triples(user, self._item[pair], self._negatives.draw(user, self._count, generator))

    def _draw_pairs(self, size: int, generator: torch.Generator) -> Tensor:
        user = torch.randint(len(self._active), (size,), generator=generator)
        length = self._length[user]
        uniform = torch.rand(size, generator=generator, dtype=torch.float64)
        return self._start[user] + (uniform * length).long().minimum(length - 1)


def _integer_weights(item: Tensor, num_users: int, num_items: int, alpha: float) -> Tensor:
    """[num_items] int64 weights of at least one, small enough that users times their sum stays below 2^62."""
    if alpha == 0:
        return torch.ones(num_items, dtype=torch.long)
    counts = torch.bincount(item, minlength=num_items).double()
    # Over the largest count, no power of them overflows.
    popularity = (counts / counts.max().clamp(min=1)) ** alpha
    if not bool(popularity.isfinite().all()):
        raise InputError(f"popularity: must be a finite number, at least 0 where an item has no user, got {alpha}")
    scale = min(_RESOLUTION, (1 << 62) // num_users - 2 * num_items) / popularity.sum()
    return (popularity * scale).long().clamp(min=1)
