"""Circle loss: every pair is drawn to its goal the faster, the farther it is from it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.finite import finite
from graphcl.objectives.kernel import blocks
from graphcl.objectives.pairwise import pair_sum, softplus
from graphcl.objectives.tables import tables
from graphcl.ops import exp_

_SAFE_EXPONENT = 40
"""e^40 times any number of candidates is far from the end of float32, and e^-40 keeps all its digits."""


def circle(x: Tensor, labels: Tensor, *, margin: float = 0.4, scale: float = 80.0) -> Tensor:
    r"""Circle loss (Sun et al., CVPR 2020): mean over anchors of softplus(LSE over negatives + LSE over positives).

    A pair counts $\gamma [d + m]_+ (d - m)$, the bracket constant to the gradient, where $d$, how far the pair is from
    its goal, is the cosine $s$ for two labels and $1 - s$ for one. `x` [N, d], `labels` [N]; anchors without a positive
    or without a negative are left out.

    Raises `InputError` where shapes disagree, no anchor is left, or the loss is not finite.
    """
    if labels.shape != x.shape[:1]:
        raise InputError(f"Circle loss needs a label for each row, [{len(x)}], but labels have {list(labels.shape)}.")
    with torch.autocast(x.device.type, enabled=False):
        order = torch.argsort(labels)
        z, groups = F.normalize(tables(x)[0][order], dim=1), _Groups.of(labels[order])
        if not groups.complete.any():
            raise InputError("Circle loss: no row has both a row of its own label and one of another.")
        near, far = (_Side(groups, margin, scale, positive=side).log_sum_exp(z) for side in (True, False))
        return finite(softplus(near + far).mean(), the_rows=x)


@dataclass(frozen=True)
class _Groups:
    """Rows in the order of their labels: those of one label follow each other."""

    labels: Tensor
    start: list[int]
    """[N] where the rows of a row's label begin"""
    end: list[int]
    """[N] and where they end"""
    complete: Tensor
    """[N] whether there are others of a row's label, and some of another"""

    @classmethod
    def of(cls, labels: Tensor) -> "_Groups":
        counts = torch.unique_consecutive(labels, return_counts=True)[1]
        end = counts.cumsum(0)
        start, end, size = (of_group.repeat_interleave(counts) for of_group in (end - counts, end, counts))
        return cls(labels, start.tolist(), end.tolist(), (size > 1) & (size < len(labels)))

    def window(self, rows: slice) -> slice:
        """Where the rows with a label of these stand."""
        return slice(self.start[rows.start], self.end[rows.stop - 1])


@dataclass(frozen=True)
class _Side:
    """The pairs of one label, or of two: what each counts, and its slope."""

    groups: _Groups
    margin: float
    scale: float
    positive: bool

    def log_sum_exp(self, z: Tensor) -> Tensor:
        """[n] of the rows that have pairs of both sides."""
        shift = self.shift(z)

        def value(s: Tensor, rows: slice, cols: slice) -> Tensor:
            exponent, _ = self.exponent(s)
            return self.keep(exp_(exponent.sub_(shift[rows, None])), 0.0, rows, cols)

        def slope(s: Tensor, rows: slice, cols: slice) -> Tensor:
            exponent, pace = self.exponent(s)
            mass = self.keep(exp_(exponent.sub_(shift[rows, None])), 0.0, rows, cols)
            return mass.mul_(pace.neg_() if self.positive else pace)

        window = self.groups.window if self.positive else None
        total = pair_sum(z, z, value, slope=slope, window=window)
        complete = self.groups.complete
        return shift[complete] + total[complete].log()

    def exponent(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """What pairs of cosine `s` count, and how fast it grows with their distance from the goal."""
        distance = 1 - s if self.positive else s
        pace = (distance + self.margin).clamp_(min=0).mul_(self.scale)
        return (distance - self.margin).mul_(pace), pace

    def keep(self, tile: Tensor, otherwise: float, rows: slice, cols: slice) -> Tensor:
        """The tile with another value, in place, for pairs that are not of this side."""
        labels, window = self.groups.labels, self.groups.window(rows)
        if self.positive:
            own = torch.arange(rows.start, rows.stop, device=tile.device)[:, None]
            other = labels[rows, None] != labels[cols]
            other |= own == torch.arange(cols.start, cols.stop, device=tile.device)
            return tile.masked_fill_(other, otherwise)
        first, last = max(window.start, cols.start), min(window.stop, cols.stop)
        if first < last:
            same = labels[rows, None] == labels[first:last]
            tile[:, first - cols.start : last - cols.start].masked_fill_(same, otherwise)
        return tile

    @torch.no_grad()
    def shift(self, z: Tensor) -> Tensor:
        """[N] what the exponents of a row are lessened by: none overflows, and the largest keep their digits."""
        middle = self.scale * (0.5 - self.margin**2)
        if not self.positive and self.scale <= 2 * _SAFE_EXPONENT:  # exponents are at most scale / 2 from the middle
            return z.new_full((len(z),), middle)
        return torch.cat([self.highest(z, rows) for rows in blocks(len(z), 512)])

    def highest(self, z: Tensor, rows: slice) -> Tensor:
        cols = self.groups.window(rows) if self.positive else slice(0, len(z))
        top = self.keep(self.exponent(z[rows] @ z[cols].T)[0], -torch.inf, rows, cols).amax(1)
        return top.masked_fill_(torch.isneginf(top), 0.0)
