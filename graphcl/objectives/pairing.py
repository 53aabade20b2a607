"""Which rows of two views meet: a pairing turns views `a` and `b` into anchors, candidates and who is whose."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.errors import InputError


@dataclass(frozen=True, eq=False)
class Pairs:
    """Anchors [N, d] and candidates [M, d], and what is known of them by position."""

    anchors: Tensor
    candidates: Tensor
    index: Tensor | None
    """the positive of each anchor where nothing else is said, int64 [N]; None where it has to be said"""
    own: Tensor | None
    """the candidate that is the anchor itself and never meets it, int64 [N]"""
    repeat: tuple[int, int]
    """how often ids of the rows of `a` are repeated to give those of anchors and of candidates"""
    negatives_within: bool = True
    """whether candidates are negatives of one another's anchors"""


Pairing = Callable[[Tensor, Tensor], Pairs]


def across(a: Tensor, b: Tensor) -> Pairs:
    """Anchors in `a`, candidates in `b`: SGL, SimGCL, DCCF, MEOW. `b` may have more rows, if positives are named."""
    counted = torch.arange(len(a), device=a.device)
    return Pairs(a, b, counted if len(a) == len(b) else None, None, (1, 1))


def across_and_within(a: Tensor, b: Tensor) -> Pairs:
    """Every row of either view is an anchor and meets all rows of both but itself: NT-Xent, CL4SRec, ICSRec, MCLRec."""
    same_rows(a, b)
    both = torch.cat([a, b])
    counted = torch.arange(len(both), device=a.device)
    return Pairs(both, both, counted.roll(len(a)), counted, (2, 2))


def first_across_and_within(a: Tensor, b: Tensor) -> Pairs:
    """As `across_and_within`, with anchors in `a` alone: the one-way DCL."""
    same_rows(a, b)
    counted = torch.arange(len(a), device=a.device)
    return Pairs(a, torch.cat([b, a]), counted, counted + len(a), (1, 2))


def within(a: Tensor, b: Tensor) -> Pairs:
    """The rows of one view among themselves (`b` is `a`), positives given by labels: SupCon."""
    counted = torch.arange(len(a), device=a.device)
    return Pairs(a, b, None, counted, (1, 1))


def one_to_one(a: Tensor, b: Tensor) -> Pairs:
    """Row i of `b` is the positive of row i of `a` and a negative of none; negatives come from a queue: MoCo."""
    same_rows(a, b)
    return Pairs(a, b, torch.arange(len(a), device=a.device), None, (1, 1), negatives_within=False)


def same_rows(a: Tensor, b: Tensor) -> None:
    """Raise `InputError` where two views have not as many rows."""
    if len(a) != len(b):
        raise InputError(f"Two views need the same rows, but the first has {len(a)} and the second {len(b)}.")
