"""RecBole's data in our terms: its id i is our id i - 1, since its 0 is padding."""

from collections.abc import Mapping
from copy import deepcopy
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataloader import AbstractDataLoader
from torch import Tensor

from graphcl.errors import InputError
from recsys.data.interactions import Interactions, Split
from recsys.models.base import Recommender

Columns = dict[str, Tensor]
"""user, item, maybe time and value -> [n], as RecBole has them."""


def interactions(dataset: Any) -> Interactions:
    """The events of a RecBole data set, or of its training part.

    A sequential data set holds beginnings of histories: each row's target is an event, and the first event of a user,
    nobody's target, is read off the shortest beginning. A user with one event has no row and is only counted.

    Raises:
        InputError: the data set has no users or items, or is of sequences that were divided in files.
    """
    return events(dataset, joined(first_events(dataset), targets(dataset)))


def split(*parts: Any) -> Split:
    """RecBole's split in our terms: its train, valid and test data (data sets or loaders), or a whole data set.

    A whole data set, fresh from `create_dataset`, is copied and divided as its configuration and seed say, as
    `run_recbole` would do. The first event of a history belongs to train.

    Raises:
        InputError: there are neither one nor three parts, the whole was divided before, or they are no interactions
            (see `interactions`).
    """
    sets = [part._dataset if isinstance(part, AbstractDataLoader) else part for part in parts]
    if len(sets) == 1:
        if not isinstance(sets[0].inter_feat, pd.DataFrame):
            raise InputError("split: the data set was divided by data_preparation; give the three parts that it made")
        with torch.random.fork_rng():
            torch.manual_seed(sets[0].config["seed"])
            sets = deepcopy(sets[0]).build()
    if len(sets) != 3:
        raise InputError(f"split: takes one data set, or train, valid and test, not {len(sets)} of them")
    train, valid, test = sets
    first = reduce(joined, map(first_events, sets))
    config = train.config
    rule = ", ".join(f"{key} {config['eval_args'][key]}" for key in ("split", "order", "group_by"))
    return Split(
        events(train, joined(first, targets(train))),
        sorted_by_pair(events(valid, targets(valid))),
        sorted_by_pair(events(test, targets(test))),
        protocol={"dataset": str(config["dataset"]), "split": f"RecBole: {rule}"},
    )


def fields_of(dataset: Any) -> Mapping[str, str]:
    """Our names of columns -> RecBole's fields, as far as they were loaded."""
    feat, name = dataset.inter_feat, dataset.config["dataset"]
    for role, field in (("users", dataset.uid_field), ("items", dataset.iid_field)):
        if field not in feat:
            raise InputError(f"RecBole's data set {name!r} has no {role}: field {field!r} was not loaded")
    optional = {"time": dataset.time_field, "value": dataset.config["RATING_FIELD"]}
    return {"user": dataset.uid_field, "item": dataset.iid_field} | {
        role: field for role, field in optional.items() if field in feat
    }


def targets(dataset: Any) -> Columns:
    """One event per row."""
    return {role: column(dataset.inter_feat[field]) for role, field in fields_of(dataset).items()}


def first_events(dataset: Any) -> Columns:
    """The first event of each history that a sequential data set holds; nothing of others."""
    fields, feat, config = fields_of(dataset), dataset.inter_feat, dataset.config
    if not holds_histories(dataset):
        return {role: values[:0] for role, values in targets(dataset).items()}
    if config["benchmark_filename"] is not None or config["MAX_ITEM_LIST_LENGTH"] < 2:
        raise InputError(
            f"RecBole's data set {config['dataset']!r} holds histories without their first events (benchmark_filename, "
            f"or MAX_ITEM_LIST_LENGTH below 2); read the files with recsys (reader: recbole_atomic)"
        )
    shortest = column(feat[config["ITEM_LIST_LENGTH_FIELD"]]) == 1
    lists = {role: field + config["LIST_SUFFIX"] for role, field in fields.items() if role != "user"}
    first = {role: column(feat[field])[shortest, 0] for role, field in lists.items()}
    return {"user": column(feat[fields["user"]])[shortest], **first}


def joined(first: Columns, others: Columns) -> Columns:
    """The first events before the others of their users; the order of `others` where there are no first ones."""
    together = {role: torch.cat([values, others[role]]) for role, values in first.items()}
    if not len(first["user"]):
        return together
    order = torch.argsort(together["user"], stable=True)
    return {role: values[order] for role, values in together.items()}


def events(dataset: Any, columns: Columns) -> Interactions:
    """`columns` with ids from 0 and the tokens of the data set's files."""
    fields = fields_of(dataset)
    tokens = {role: tuple(map(str, dataset.field2id_token[fields[role]][1:])) for role in ("user", "item")}
    return Interactions(
        user=columns["user"].long() - 1,
        item=columns["item"].long() - 1,
        time=columns["time"].double() if "time" in columns else None,
        value=columns["value"].double() if "value" in columns else None,
        num_users=dataset.user_num - 1,
        num_items=dataset.item_num - 1,
        user_ids=tokens["user"],
        item_ids=tokens["item"],
    )


def sorted_by_pair(found: Interactions) -> Interactions:
    """The same events by user and item: RecBole's loaders sort theirs, its data sets do not."""
    return found.take(torch.argsort(found.user * found.num_items + found.item, stable=True))


def column(values: Any) -> Tensor:
    """A field as a tensor: a data frame's column before RecBole has converted it, a tensor after."""
    return values if isinstance(values, Tensor) else torch.as_tensor(np.array(values))


def holds_histories(dataset: Any) -> bool:
    """Whether a row is a history and what came next."""
    return f"{dataset.iid_field}{dataset.config['LIST_SUFFIX']}" in dataset.inter_feat


def refuse_other_task(model: type[Recommender], dataset: Any) -> None:
    """Raise `InputError` where a general model meets histories, or a sequential one meets pairs."""
    if holds_histories(dataset) != (model.task == "sequential"):
        has = "histories" if holds_histories(dataset) else "pairs of user and item"
        raise InputError(
            f"{model.__name__} is a {model.task} model, but the data set was made for another kind of model and holds "
            f"{has}; make it with create_dataset from the Config of this model"
        )
