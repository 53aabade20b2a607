"""Subsequences that lead to the same item share an intent (ICSRec, WSDM 2024; DuoRec, WSDM 2022).

ICSRec cuts each history by a sliding segmentation; in closed form, its subsequences are the beginnings of the history,
each kept to the last `max_length` items, with the item behind it as target: `Prefixes`.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from recsys.data.ragged import Ragged, offsets_of
from recsys.sequences.sampler import BLOCK, PrefixSampler, cut

Pairing = Literal["last", "random"]

ROUNDS = 8
"""How often a partner equal to the sample is drawn again before the last differing one is taken."""


class Partners(NamedTuple):
    """Histories, what came next, and other histories after which the same came next."""

    user: Tensor
    """[B] int64."""
    history: Ragged
    """B rows of items, oldest first."""
    target: Tensor
    """[B] int64."""
    negative: Tensor
    """[B, k] items unknown to the user; k is 0 where the loss needs none."""
    partner: Ragged
    """B rows: another history with the same target, or the same one where there is no other."""


class PartnerSampler:
    """Every beginning of a history beside another one with the same target.

    pairing "random" draws the partner anew each time among those that differ in their items, which is what the papers
    describe. "last" takes the last one that differs in the order of users and positions, always the same: what the
    published code of ICSRec does. A sample without a differing one is its own partner.
    """

    def __init__(
        self, histories: Ragged, num_items: int, max_length: int, *, negatives: int = 0, pairing: Pairing = "random"
    ) -> None:
        self.samples = PrefixSampler(histories, num_items, max_length, negatives=negatives)
        self.pairing = pairing
        target = histories.values[self.samples.prefixes.stop]
        self.member = torch.argsort(target, stable=True)
        """[S] the samples, grouped by target, each group in their own order."""
        size = torch.bincount(target, minlength=num_items)
        self.first, self.size = offsets_of(size)[:-1][target], size[target]
        """[S] where the group of each sample begins in `member`, and how large it is."""
        self.last = self.last_differing(target)

    def last_differing(self, target: Tensor) -> Tensor:
        """[S] the last sample of the same target with other items; the sample itself where all are alike."""
        own = torch.arange(target.numel())
        final = self.member[self.first + self.size - 1]
        differs = ~self.alike(own, final)
        before = torch.full((int(target.max()) + 1,), -1)
        before = before.scatter_reduce(0, target[differs], own[differs], "amax")[target]
        return torch.where(differs, final, torch.where(before >= 0, before, own))

    def alike(self, a: Tensor, b: Tensor) -> Tensor:
        """[m] whether samples a and b [m] read the same items."""
        start, stop = self.samples.prefixes.start, self.samples.prefixes.stop
        length = stop - start
        same = length[a] == length[b]
        pair = same.nonzero().flatten()
        left, right = (self.samples.inputs(side[pair]) for side in (a, b))
        same[pair[left.row[left.values != right.values]]] = False
        return same

    def partner(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Samples [B] -> their partners [B]."""
        if self.pairing == "last":
            return self.last[rows]
        chosen = rows.clone()
        pending = (self.last[rows] != rows).nonzero().flatten()
        for _ in range(ROUNDS):
            if not pending.numel():
                return chosen
            sample = rows[pending]
            point = torch.rand(sample.numel(), generator=generator, dtype=torch.float64)
            chosen[pending] = self.member[self.first[sample] + (point * self.size[sample]).long()]
            pending = pending[self.alike(chosen[pending], sample)]
        chosen[pending] = self.last[rows[pending]]
        return chosen

    @property
    def num_samples(self) -> int:
        """S."""
        return self.samples.num_samples

    def steps(self, batch_size: int) -> int:
        """Batches per epoch; the last may be smaller."""
        return self.samples.steps(batch_size)

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Partners]:
        """All samples once, in random order."""
        for rows in torch.randperm(self.num_samples, generator=generator).split(BLOCK * batch_size):
            partner = self.samples.inputs(self.partner(rows, generator))
            yield from cut(Partners(*self.samples.take(rows, generator), partner), batch_size)

    def inputs_by_length(self) -> Iterator[Ragged]:
        """What every sample reads, short ones first, piece by piece."""
        return self.samples.inputs_by_length()
