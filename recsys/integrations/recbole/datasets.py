"""RecBole's data sets as our models need them: with their fields there, and their events in the right order.

RecBole casts times to float32 before it sorts by them, so that events up to 128 seconds apart fall together and keep
the order of the file: on ml-100k, without normalisation, 15.8 % of the users get another test item than their last.
The data sets here warn of it; `exact_timestamps: true` in the configuration puts ranks in the place of times.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.data.dataset import Dataset, SequentialDataset

from graphcl.errors import InputError
from recsys.data.text import first_row
from recsys.integrations.recbole.keys import EXACT_TIMESTAMPS
from recsys.integrations.recbole.registry import PREFIX

EXACT_FLOATS = 1 << 24
"""Whole numbers up to here are exact in float32."""


class TimeWarning(UserWarning):
    """RecBole's float32 times put events of some users into another order."""


class GeneralData(Dataset):
    """RecBole's `Dataset`."""

    def _load_data(self, token: str, dataset_path: str) -> None:
        super()._load_data(token, dataset_path)
        refuse_lacking_fields(self, by_time=self.config["eval_args"]["order"] == "TO")

    def _change_feat_format(self) -> None:
        if self.config["eval_args"]["order"] == "TO":
            mind_times(self)
        super()._change_feat_format()


class SequentialData(SequentialDataset):
    """RecBole's `SequentialDataset`."""

    def _load_data(self, token: str, dataset_path: str) -> None:
        super()._load_data(token, dataset_path)
        refuse_lacking_fields(self, by_time=self.config["benchmark_filename"] is None)

    def _change_feat_format(self) -> None:
        mind_times(self)
        super()._change_feat_format()


DATASETS: Mapping[str, type[Any]] = {"general": GeneralData, "sequential": SequentialData}
"""What RecBole's `create_dataset` makes for a model, by the model's task."""


def refuse_lacking_fields(dataset: Any, *, by_time: bool) -> None:
    """Raise `InputError` where a field that the model needs was not loaded, and say why it was not."""
    needed = {"USER_ID_FIELD": dataset.uid_field, "ITEM_ID_FIELD": dataset.iid_field}
    needed |= {"TIME_FIELD": dataset.time_field} if by_time else {}
    for key, field in needed.items():
        if field in dataset.inter_feat:
            continue
        model = dataset.config["model"].removeprefix(PREFIX)
        part = f".{files[0]}" if (files := dataset.config["benchmark_filename"]) else ""
        path = Path(dataset.dataset_path) / f"{dataset.dataset_name}{part}.inter"
        header = [name.partition(":")[0] for name in first_row(path, dataset.config["field_separator"])]
        if field in header:
            raise InputError(f"load_col: does not load {field!r}, which {model} needs; add it to the list 'inter'")
        raise InputError(
            f"{path}: has no field {field!r}, which {model} needs; it has {', '.join(header)} ({key} names the field)"
        )


def mind_times(dataset: Any) -> None:
    """Put ranks in the place of times where the configuration asks for it; else warn if float32 changes an order.

    Nothing happens where RecBole has converted the data before.

    Raises:
        InputError: there are more distinct times than float32 has whole numbers.
    """
    feat, field = dataset.inter_feat, dataset.time_field
    if not isinstance(feat, pd.DataFrame) or field not in feat:
        return
    times = feat[field].to_numpy(np.float64)
    if dataset.config[EXACT_TIMESTAMPS]:
        distinct, ranks = np.unique(times, return_inverse=True)
        if len(distinct) > EXACT_FLOATS:
            raise InputError(
                f"{EXACT_TIMESTAMPS}: {len(distinct):,} distinct times are more than RecBole can tell apart; "
                f"read the file with recsys (reader: recbole_atomic), which sorts in full precision"
            )
        feat[field] = ranks.astype(np.float64)
    elif users := misordered(feat[dataset.uid_field].to_numpy(), times):
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
