"""Synthetic worlds whose right answers are known."""

import torch

from recsys.data.interactions import Interactions, Split


def checkerboard(num_users: int = 60, num_items: int = 40, groups: int = 4, per_user: int = 8, seed: int = 0) -> Split:
    """Users of group g touch items of group g alone; the last two items of each are valid and test.

    A model that has understood ranks the untouched items of the own group first.
    """
    generator = torch.Generator().manual_seed(seed)
    size = num_items // groups
    user = torch.arange(num_users).repeat_interleave(per_user)
    rank = torch.arange(per_user).repeat(num_users)
    shuffled = torch.stack([torch.randperm(size, generator=generator)[:per_user] for _ in range(num_users)]).flatten()
    item = shuffled + (user % groups) * size
    events = Interactions(
        user=user,
        item=item,
        time=rank,
        num_users=num_users,
        num_items=num_items,
        user_ids=tuple(f"u{number}" for number in range(num_users)),
        item_ids=tuple(f"i{number}" for number in range(num_items)),
    )
    parts = (events.take(rank < per_user - 2), events.take(rank == per_user - 2), events.take(rank == per_user - 1))
    return Split(*parts, protocol={"dataset": "checkerboard", "split": "last two"})


def cycle(num_users: int = 80, num_items: int = 30, length: int = 10) -> Split:
    """Each user walks the items in a circle, from an own start: after item i comes item i + 1."""
    user = torch.arange(num_users).repeat_interleave(length)
    rank = torch.arange(length).repeat(num_users)
    item = (user * 7 + rank) % num_items
    events = Interactions(user=user, item=item, time=rank, num_users=num_users, num_items=num_items)
    parts = (events.take(rank < length - 2), events.take(rank == length - 2), events.take(rank == length - 1))
    return Split(*parts, protocol={"dataset": "cycle", "split": "last two"})
