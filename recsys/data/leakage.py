"""The guard at the gate: what a split must not do, and what a reader of results must know of it."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from graphcl.errors import InputError
from recsys.data.interactions import Interactions, Split


@dataclass(frozen=True)
class Audit:
    """Counts that belong beside every result on a split."""

    test_users: int
    cold_users: int
    """Users with test events and no training event."""
    test_items: int
    cold_items: int
    """Items with test events and no training event."""
    repeats: int
    """Test events whose user had the item before."""

    def __str__(self) -> str:
        cold = (
            f"{self.cold_users:,} of {self.test_users:,} test users and {self.cold_items:,} of {self.test_items:,} "
            f"test items have no training interaction; they stay in the evaluation, where missing them counts as a miss"
        )
        cold = cold if self.cold_users or self.cold_items else "every test user and item has training interactions"
        return f"{cold}; {self.repeats:,} test events repeat an earlier one" if self.repeats else cold


def audit(split: Split, order: Literal["user", "global"] | None = None) -> Audit:
    """Check a split and count what is cold in it.

    order: whether test must lie behind train in time, for each "user" or for all ("global"). A user may then meet
        an item again; without such an order an event of train or valid must not come back in test.

    Raises:
        InputError: there are fewer than two users or items, a part is empty, an event of test is known from train
            or valid, or training lies behind the test.
    """
    refuse_trivial(split)
    train, valid = keys(split.train).sort().values, keys(split.valid).sort().values
    in_train, in_valid = among(keys(split.test), train), among(keys(split.test), valid)
    if order is None:
        refuse_overlap(split.test, in_train, "train", "test")
        refuse_overlap(split.test, in_valid, "valid", "test")
        refuse_overlap(split.valid, among(keys(split.valid), train), "train", "valid")
    elif split.train.time is not None:
        refuse_future(split.train, split.valid, order, "train", "valid")
        refuse_future(split.train, split.test, order, "train", "test")
        refuse_future(split.valid, split.test, order, "valid", "test")
    users, items = occurring(split.test.user), occurring(split.test.item)
    return Audit(
        test_users=len(users),
        cold_users=int((~torch.isin(users, occurring(split.train.user))).sum()),
        test_items=len(items),
        cold_items=int((~torch.isin(items, occurring(split.train.item))).sum()),
        repeats=int((in_train | in_valid).sum()),
    )


def refuse_trivial(split: Split) -> None:
    """Raise `InputError` for a split from which nothing can be learnt or measured."""
    for role, ids in (("user", split.train.user), ("item", split.train.item)):
        seen = occurring(ids)
        if len(seen) < 2:
            names = split.train.user_ids if role == "user" else split.train.item_ids
            who = f" ({names[int(seen[0])]!r})" if len(seen) and names else ""
            found = f"one {role}{who}" if len(seen) else f"no {role}"
            raise InputError(
                f"the training part has {found}: there is nobody to compare with; "
                f"give interactions of at least two {role}s, or filter less"
            )
    for name in ("train", "test"):
        if not len(getattr(split, name)):
            raise InputError(
                f"the {name} part is empty; give it more in 'split' (a larger share, another time), or filter less"
            )


def refuse_overlap(late: Interactions, shared: Tensor, early_name: str, late_name: str) -> None:
    """Raise `InputError` if an event of `late` is `shared` [late] with an earlier part."""
    if bool(shared.any()):
        row = int(shared.nonzero()[0])
        raise InputError(
            f"{int(shared.sum()):,} interactions of {late_name} are also in {early_name}, the first of them "
            f"{pair(late, row)}; keep one of each (filters: [{{kind: duplicates, keep: first}}]; of released parts, "
            f"in their files) or split by time"
        )


def refuse_future(early: Interactions, late: Interactions, order: str, early_name: str, late_name: str) -> None:
    """Raise `InputError` if an event of `early` lies behind one of `late`, of the same user or of anyone."""
    if early.time is None or late.time is None or not len(early) or not len(late):
        return
    if order == "global":
        wrong = early.time > late.time.min()
    else:
        first = torch.full((late.num_users,), float("inf"), dtype=torch.float64)
        first = first.scatter_reduce(0, late.user, late.time.double(), "amin")
        wrong = early.time.double() > first[early.user]
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise InputError(
            f"{int(wrong.sum()):,} events of {early_name} lie behind events of {late_name} in time, the first of them "
            f"{pair(early, row)} at {early.time[row].item():.0f}; split again by time"
        )


def keys(events: Interactions) -> Tensor:
    """[n] one number for each pair of user and item."""
    return events.user * events.num_items + events.item


def among(wanted: Tensor, known: Tensor) -> Tensor:
    """[wanted] bool: which keys are in `known`, which is sorted."""
    if not len(known):
        return torch.zeros_like(wanted, dtype=torch.bool)
    return known[torch.searchsorted(known, wanted).clamp(max=len(known) - 1)] == wanted


def occurring(ids: Tensor) -> Tensor:
    """The distinct ids, ascending."""
    return torch.bincount(ids).nonzero().flatten()


def pair(events: Interactions, row: int) -> str:
    """A user and an item by their raw ids."""
    user, item = int(events.user[row]), int(events.item[row])
    return (
        f"user {events.user_ids[user] if events.user_ids else user!r} with "
        f"item {events.item_ids[item] if events.item_ids else item!r}"
    )
