"""RecBole's data in our terms, and its events in their right order.

RecBole casts times to float32 before it sorts by them, so that events up to 128 seconds apart fall together and keep
the order of the file: on ml-100k, without normalisation, 15.8 % of the users get another test item than their last.
The data sets here warn of it; `exact_timestamps: true` in the configuration puts ranks in the place of times.
"""

import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataloader import AbstractDataLoader
from recbole.data.dataset import Dataset, SequentialDataset
from torch import Tensor

from graphcl.errors import InputError
from recsys.data.interactions import Interactions, Split
from recsys.integrations.recbole.keys import EXACT_TIMESTAMPS
from recsys.models.base import Recommender

EXACT_FLOATS = 1 << 24
"""Whole numbers up to here are exact in float32."""


class TimeWarning(UserWarning):
    """RecBole's float32 times put events of some users into another order."""


class GeneralData(Dataset):
    """RecBole's `Dataset`, which minds the order of time."""

    def _change_feat_format(self) -> None:
        if self.config["eval_args"]["order"] == "TO":
            mind_times(self)
        super()._change_feat_format()


class SequentialData(SequentialDataset):
    """RecBole's `SequentialDataset`, which minds the order of time."""

    def _change_feat_format(self) -> None:
        mind_times(self)
        super()._change_feat_format()


DATASETS: Mapping[str, type[Any]] = {"general": GeneralData, "sequential": SequentialData}
"""What RecBole's `create_dataset` makes for a model, by the model's task."""


def mind_times(dataset: Any) -> None:
    """Put ranks in the place of times where the configuration asks for it; else warn if float32 changes an order.

    Raises:
        InputError: there are more distinct times than float32 has whole numbers.
    """
    feat, field = dataset.inter_feat, dataset.time_field
    if not isinstance(feat, pd.DataFrame) or field not in feat:
        return
    if dataset.config[EXACT_TIMESTAMPS]:
        distinct, ranks = np.unique(feat[field].to_numpy(np.float64), return_inverse=True)
        if len(distinct) > EXACT_FLOATS:
            raise InputError(
                f"{EXACT_TIMESTAMPS}: {len(distinct):,} distinct times are more than RecBole can tell apart; "
                f"read the file with recsys (reader: recbole_atomic), which sorts in full precision"
            )
        feat[field] = ranks.astype(np.float64)
    elif users := misordered(feat[dataset.uid_field].to_numpy(), feat[field].to_numpy(np.float64)):
        total = feat[dataset.uid_field].nunique()
        warnings.warn(
            f"RecBole casts {field!r} to float32, which changes the last event of {users:,} of {total:,} users and so "
            f"the split; set {EXACT_TIMESTAMPS}: true for the order of the file's own times",
            TimeWarning,
            stacklevel=2,
        )


def misordered(user: np.ndarray, time: np.ndarray) -> int:
    """How many users have another last event once times are float32; events of one time keep the order of rows."""
    exact, cast = (np.lexsort((t, user)) for t in (time, time.astype(np.float32)))
    last = np.flatnonzero(np.diff(user[exact], append=np.inf))
    return int((exact[last] != cast[last]).sum())


def interactions(dataset: Any) -> Interactions:
    """The events of a RecBole data set, or of a part of one; RecBole's id i is our id i - 1.

    A sequential data set holds beginnings of histories; the first event of a user, nobody's target, is taken from the
    shortest of them and belongs to the part that holds it.

    Raises:
        InputError: the data set has no users or items, or is of sequences that were divided in files.
    """
    feat, config = dataset.inter_feat, dataset.config
    for role, field in (("users", dataset.uid_field), ("items", dataset.iid_field)):
        if field not in feat:
            raise InputError(f"RecBole's data set {config['dataset']!r} has no {role}: field {field!r} was not loaded")
    fields = {"user": dataset.uid_field, "item": dataset.iid_field}
    fields |= {
        role: field
        for role, field in (("time", dataset.time_field), ("value", config["RATING_FIELD"]))
        if field in feat
    }
    columns = {role: column(feat[field]) for role, field in fields.items()}
    if holds_histories(dataset):
        columns = with_first_events(dataset, fields, columns)
    for role in ("time", "value"):
        if role in columns:
            columns[role] = columns[role].double()
    for role in ("user", "item"):
        columns[role] = columns[role].long() - 1
    names = {role: tuple(map(str, dataset.field2id_token[fields[role]][1:])) for role in ("user", "item")}
    return Interactions(
        **columns,
        num_users=dataset.user_num - 1,
        num_items=dataset.item_num - 1,
        user_ids=names["user"],
        item_ids=names["item"],
    )


def column(values: Any) -> Tensor:
    """A field as a tensor on the CPU; a data frame's column before RecBole has converted it, a tensor after."""
    return values if isinstance(values, Tensor) else torch.as_tensor(np.array(values))


def holds_histories(dataset: Any) -> bool:
    """Whether a row is a history and what came next."""
    return f"{dataset.iid_field}{dataset.config['LIST_SUFFIX']}" in dataset.inter_feat


def with_first_events(dataset: Any, fields: Mapping[str, str], columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Targets, and before those of each user the first event; sorted by user."""
    config, feat = dataset.config, dataset.inter_feat
    if config["benchmark_filename"] is not None or config["MAX_ITEM_LIST_LENGTH"] < 2:
        raise InputError(
            f"RecBole's data set {config['dataset']!r} holds histories without their first events (benchmark_filename, "
            f"or MAX_ITEM_LIST_LENGTH below 2); read the files with recsys (reader: recbole_atomic)"
        )
    shortest = column(feat[config["ITEM_LIST_LENGTH_FIELD"]]) == 1
    first = {
        role: columns[role][shortest]
        if role == "user"
        else column(feat[f"{field}{config['LIST_SUFFIX']}"])[shortest, 0]
        for role, field in fields.items()
    }
    joined = {role: torch.cat([first[role], columns[role]]) for role in fields}
    order = torch.argsort(joined["user"], stable=True)
    return {role: values[order] for role, values in joined.items()}


def split(*parts: Any) -> Split:
    """RecBole's split in our terms: its train, valid and test data (data sets or loaders), or a whole data set.

    A whole data set is copied and divided as its configuration says, with torch's generator where that says at random.
    """
    sets = [part._dataset if isinstance(part, AbstractDataLoader) else part for part in parts]
    if len(sets) == 1:
        sets = deepcopy(sets[0]).build()
    if len(sets) != 3:
        raise InputError(f"split: takes one data set, or train, valid and test, not {len(sets)} of them")
    config = sets[0].config
    rule = ", ".join(f"{key} {config['eval_args'][key]}" for key in ("split", "order", "group_by"))
    train, valid, test = map(interactions, sets)
    return Split(train, valid, test, protocol={"dataset": str(config["dataset"]), "split": f"RecBole: {rule}"})


def refuse_other_task(model: type[Recommender], dataset: Any) -> None:
    """Raise `InputError` where a general model meets histories, or a sequential one meets pairs."""
    if holds_histories(dataset) != (model.task == "sequential"):
        has = "histories" if holds_histories(dataset) else "pairs of user and item"
        raise InputError(
            f"{model.__name__} is a {model.task} model, but the data set was made for another kind of model and holds "
            f"{has}; make it with create_dataset from the Config of this model"
        )


def refuse_lacking_fields(config: Any, model: type[Recommender]) -> None:
    """Raise `InputError` where the `.inter` file or `load_col` lacks a field that is needed."""
    path = Path(config["data_path"]) / f"{config['dataset']}.inter"
    if not path.is_file() or config["benchmark_filename"] is not None:
        return
    needed = [config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]]
    if model.task == "sequential" or config["eval_args"]["order"] == "TO":
        needed.append(config["TIME_FIELD"])
    with path.open(encoding=config["encoding"] or "utf-8") as file:
        header = [name.partition(":")[0] for name in file.readline().rstrip("\n").split(config["field_separator"])]
    for field in needed:
        if field not in header:
            raise InputError(
                f"{path}: has no field {field!r}, which {model.__name__} needs; it has {', '.join(header)} "
                f"(USER_ID_FIELD, ITEM_ID_FIELD and TIME_FIELD name the fields)"
            )
        loaded = (config["load_col"] or {}).get("inter") if config["load_col"] is not None else None
        if loaded is not None and field not in loaded:
            raise InputError(
                f"load_col: does not load {field!r}, which {model.__name__} needs; add it to its list 'inter'"
            )
