"""What a recommender is."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from graphcl.training.learner import Learner
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged

UNKNOWN_USER = -1
"""The id by which a query asks for somebody who is only known by a history."""

ENTRIES = {"cpu": 2048, "cuda": 1 << 19}
"""How many entries of histories an encoder reads at a time when many users are asked about."""


@dataclass(frozen=True)
class Index:
    """A frozen picture of a model: what each item is, and how a user asks. Nothing in it is cached by the model."""

    items: Tensor
    """[I, d]"""
    query: Callable[[Tensor, Ragged], Tensor]
    """(user [B] int64, history of B rows, oldest first) -> [B, d]; a user may be `UNKNOWN_USER`."""
    length: int = 0
    """How many of a user's latest items a query reads; 0 if it reads none of a known user."""

    def score(self, user: Tensor, history: Ragged) -> Tensor:
        """[B, I] how much each user would like each item."""
        return self.query(user, history) @ self.items.T

    def ask(self, user: Tensor, history: Ragged) -> Tensor:
        """`query` for any number of users, histories of like length together and few of them at a time.

        What an encoder computes of a few thousand entries stays in the cache of a CPU; of many it is memory that the
        system maps anew for every tensor, which costs more than the arithmetic.
        """
        limit = ENTRIES.get(user.device.type, ENTRIES["cuda"])
        if not self.length or history.values.numel() <= limit:
            return self.query(user, history)
        lengths, order = history.lengths.sort(stable=True)
        batch = lengths.cumsum(0).div(limit, rounding_mode="floor")
        parts = order.split(batch.unique_consecutive(return_counts=True)[1].tolist())
        return torch.cat([self.query(user[part], history.take(part)) for part in parts])[order.argsort()]


class Recommender(Learner):
    """Answers two questions: how wrong is it on this batch, and what would each user like?"""

    task: ClassVar[Literal["general", "sequential"]] = "general"
    """Whether a query is about a known user or about a history."""
    usual_search: ClassVar[dict[str, Any]] = {}
    """What a search tries where nothing else is said: the keys that differ from `recsys.search_space.USUAL`."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The hyper-parameters and nothing else: one field, one YAML key, explained by the string below it."""

        def idle(self) -> dict[str, str]:
            """The keys that change nothing beside the values of the others, and why; who writes one is told."""
            return {}

    def __init__(self, train: Interactions, config: Any) -> None:
        super().__init__()
        self.num_users, self.num_items = train.num_users, train.num_items
        self.config = config

    @abstractmethod
    def index(self) -> Index:
        """A picture of the model as it is now, taken without gradients."""


def no_items(num_rows: int, device: torch.device) -> Ragged:
    """Empty histories for `num_rows` queries."""
    return Ragged(
        torch.empty(0, dtype=torch.long, device=device), torch.zeros(num_rows + 1, dtype=torch.long, device=device)
    )
