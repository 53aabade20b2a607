"""A split in one file, so that a run can be evaluated and used without its data set."""

import json
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.training import checkpoint
from recsys.data.attributes import Attributes
from recsys.data.interactions import Interactions, Split

PARTS = ("train", "valid", "test")
NAMES = "names"
"""UTF-8 of a JSON, among the tensors: what a file of safetensors says in words may be 100 MB at most."""
COLUMNS = tuple(f.name for f in fields(Interactions) if f.name in ("user", "item", "time", "value"))


def save_split(path: Path, split: Split) -> None:
    """Write the three parts, the raw ids and the protocol to `path` (safetensors)."""
    tensors: dict[str, Tensor] = {}
    for part in PARTS:
        for column in COLUMNS:
            values = getattr(split, part).__getattribute__(column)
            if values is not None:
                tensors[f"{part}/{column}"] = values
    train = split.train
    names = {"user_ids": train.user_ids, "item_ids": train.item_ids, "attributes": train.attributes.tree()}
    tensors[NAMES] = torch.frombuffer(bytearray(json.dumps(names, ensure_ascii=False).encode()), dtype=torch.uint8)
    state = {
        "num_users": train.num_users,
        "num_items": train.num_items,
        "protocol": dict(split.protocol),
        "digest": split.digest,
    }
    checkpoint.save(path, tensors, state)


def read_split(path: Path) -> Split:
    """The split that `save_split` wrote.

    Raises:
        InputError: the file is missing or damaged, or its content is not what its digest says.
    """
    tensors, state = checkpoint.load(path)
    if NAMES in tensors:  # older files have them in words
        state |= json.loads(tensors.pop(NAMES).numpy().tobytes())
    try:
        ids = {name: state[name] and tuple(state[name]) for name in ("user_ids", "item_ids")}
        attributes = Attributes(**state.get("attributes", {}))
        parts = {
            part: Interactions(
                user=tensors[f"{part}/user"],
                item=tensors[f"{part}/item"],
                time=tensors.get(f"{part}/time"),
                value=tensors.get(f"{part}/value"),
                num_users=state["num_users"],
                num_items=state["num_items"],
                **ids,
                attributes=attributes,
            )
            for part in PARTS
        }
        split = Split(**parts, protocol=state["protocol"])
        expected = state["digest"]
    except KeyError as error:
        raise InputError(f"{path}: not a split of this library, {error} is missing; train again") from error
    if split.digest != expected:
        raise InputError(f"{path}: its content hashes to {split.digest}, not to {expected}; restore it or train again")
    return split


def refuse_other_split(path: Path, now: Split) -> None:
    """Raise `InputError` where `path` holds another split than `now`, down to the names of users and items."""
    then = read_split(path)
    if then.digest != now.digest:
        what = f"the split {then.digest}, the data is now {now.digest}"
    elif (then.train.user_ids, then.train.item_ids) != (now.train.user_ids, now.train.item_ids):
        what = "data with other ids of users or items, though between the same numbers"
    elif then.train.attributes.tree() != now.train.attributes.tree():
        what = "data with other attributes"
    else:
        return
    raise InputError(f"{path.parent}: was trained on {what}; start a new run, without resuming")
