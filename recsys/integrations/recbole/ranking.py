"""RecBole's own models before our evaluator.

On the same scores it gives RecBole's metrics, if general models are ranked with `mask_history=True` and
`repeats="candidates"`, sequential ones with `mask_history=False`. Three rules differ:

- ties: RecBole takes equal scores as `torch.topk` happens to return them, we count them against the model;
- NaN: `torch.topk` puts it first, we never rank it;
- RecBole rounds to `metric_decimal_place`, we do not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.utils import ModelType
from torch import Tensor

from recsys.data.ragged import Ragged
from recsys.models.base import Index


@dataclass(frozen=True, kw_only=True)
class ScoresIndex(Index):
    """An index without vectors: somebody else computes the scores."""

    respond: Callable[[Tensor, Ragged], Tensor]
    """(user [B], history of B rows) -> [B, I]"""

    def score(self, user: Tensor, history: Ragged) -> Tensor:
        """[B, I]"""
        return self.respond(user, history)


def index_of(model: Any, dataset: Any) -> Index:
    """A RecBole model, as `recsys.evaluation.ranking.rank` wants it.

    A sequential model is asked with the items of a history alone; one that reads further fields cannot answer. The
    index is no picture: train the model on, and its answers change.

    Args:
        model: a trained model of RecBole's.
        dataset: the RecBole data set that it was made with, such as `train_data.dataset`.
    """
    sequential = model.type == ModelType.SEQUENTIAL
    batch = histories_batch if sequential else users_batch

    @torch.no_grad()
    def respond(user: Tensor, history: Ragged) -> Tensor:
        model.eval()
        return all_scores(model, dataset, batch(dataset, user, history).to(model.device))[:, 1:]

    items = torch.empty(dataset.item_num - 1, 0, device=model.device)
    length = dataset.config["MAX_ITEM_LIST_LENGTH"] if sequential else 0
    return ScoresIndex(items, lambda user, history: items.new_empty(len(user), 0), length, respond=respond)


def users_batch(dataset: Any, user: Tensor, history: Ragged) -> Any:
    """Users with their features, in RecBole's terms; an unknown one becomes its padding user."""
    return dataset.join(Interaction({dataset.uid_field: user.cpu() + 1}))


def histories_batch(dataset: Any, user: Tensor, history: Ragged) -> Any:
    """Histories in RecBole's terms: ids from 1, and 0 behind them; an empty one is read as a single padding item."""
    config = dataset.config
    length = config["MAX_ITEM_LIST_LENGTH"]
    rows = history.last(length)
    table = rows.values.new_zeros(rows.num_rows, length)
    table[torch.arange(length, device=table.device) < rows.lengths.unsqueeze(1)] = rows.values + 1
    return Interaction(
        {
            dataset.uid_field: user + 1,
            dataset.iid_field + config["LIST_SUFFIX"]: table,
            config["ITEM_LIST_LENGTH_FIELD"]: rows.lengths.clamp(min=1),
        }
    )


def all_scores(model: Any, dataset: Any, batch: Any) -> Tensor:
    """[B, I + 1] scores, padding first; pair by pair where the model has no quicker way, as RecBole does."""
    try:
        scores = model.full_sort_predict(batch)
    except NotImplementedError:
        pairs = batch.repeat_interleave(dataset.item_num)
        pairs.update(dataset.get_item_feature().to(model.device).repeat(len(batch)))
        scores = model.predict(pairs)
    return scores.view(-1, dataset.item_num)
