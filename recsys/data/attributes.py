"""What a source says of users and items besides their interactions: genres, occupations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import InputError

Words = Mapping[str, Sequence[str]]
"""Raw id -> the words of one attribute, none or several."""


@dataclass(frozen=True)
class Attributes:
    """Attributes by name. They hang on raw ids, so that filters and splits may renumber users and items."""

    user: Mapping[str, Words] = field(default_factory=dict)
    item: Mapping[str, Words] = field(default_factory=dict)

    def side(self, name: str) -> str:
        """Whose attribute it is, "user" or "item".

        Raises:
            InputError: the data has no such attribute.
        """
        for side in ("user", "item"):
            if name in getattr(self, side):
                return side
        known = ", ".join([*self.user, *self.item]) or "none"
        raise InputError(f"the data has no attribute {name!r}; its attributes are: {known}")

    def tree(self) -> dict[str, Any]:
        """As plain mappings and lists; `Attributes(**tree)` reads them."""
        return {
            side: {name: {i: list(words) for i, words in table.items()} for name, table in getattr(self, side).items()}
            for side in ("user", "item")
        }


def memberships(words: Words, ids: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """([2, E] int64: number of the id, number of the word; the words): one entry for each word of each id."""
    number: dict[str, int] = {}
    pairs = [
        (row, number.setdefault(word, len(number))) for row, name in enumerate(ids) for word in words.get(name, ())
    ]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T, tuple(number)
