"""Weights of the authors' code, read into this library's models.

A checkpoint is a table of tensors under the authors' names. Here it is renamed, its rows of items are put into the
order of the data (the authors' row 0 is padding, ours stands behind the items), and the sizes of the model are read
off the shapes. Only tensors are read: a checkpoint that needs code to load is refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graphcl.errors import InputError
from graphcl.training import checkpoint
from graphcl.training.state import BEST
from recsys.data.interactions import Interactions
from recsys.experiment import Experiment, refuse_long_lists
from recsys.run import Run
from recsys.training import finish, furnish

LAYER = {
    r"attention\.query": "attention.query",
    r"attention\.key": "attention.key",
    r"attention\.value": "attention.value",
    r"attention\.dense": "attention.output",
    r"attention\.LayerNorm": "attention.norm",
    r"feed_forward\.dense_1": "feed_forward.inner",
    r"feed_forward\.dense_2": "feed_forward.output",
    r"feed_forward\.LayerNorm": "feed_forward.norm",
}
"""Parts of a transformer layer, once its two halves are called by their usual names."""
SOURCES = {
    "icsrec": {
        r"item_embeddings\.": "items.",
        r"position_embeddings\.": "encoder.positions.",
        r"LayerNorm\.": "encoder.norm.",
        r"gru_layers\.(weight_[ih]h)_l(\d+)": r"encoder.layers.\2.\1_l0",
        r"dense\.": "encoder.output.",
        **{rf"item_encoder\.layer\.(\d+)\.{k}\.": rf"encoder.layers.\1.{v}." for k, v in LAYER.items()},
    },
    "mclrec": {
        r"item_embedding\.": "items.",
        r"position_embedding\.": "encoder.positions.",
        r"LayerNorm\.": "encoder.norm.",
        **{rf"trm_encoder\.layer\.(\d+)\.{k}\.": rf"encoder.layers.\1.{v}." for k, v in LAYER.items()},
    },
}
"""The authors' names -> ours, as patterns of beginnings, by the method whose code wrote the checkpoint."""
HALVES = {"multi_head_attention.": "attention.", "intermediate.": "feed_forward."}
"""What the halves of a layer are called in one code or the other."""

TELLING = {
    "transformer": ("encoder.positions.weight", "encoder.layers.0.feed_forward.inner.weight"),
    "gru": ("encoder.output.weight", "encoder.layers.0.weight_ih_l0"),
}
"""Tables from which the sizes of an encoder are read."""
PARALLEL = "module."
"""What torch puts before names where a model was trained on several devices."""

REPORT = ["hit@5", "ndcg@5", "hit@10", "ndcg@10", "hit@20", "ndcg@20"]
"""The metrics of both papers."""


@dataclass(frozen=True)
class Official:
    """An authors' checkpoint in this library's terms."""

    kind: str
    """The model's name in YAML."""
    config: Mapping[str, Any]
    """The keys of the model that follow from names and shapes; heads and dropout do not."""
    weights: Mapping[str, Tensor]
    """Parameters by our names, item rows in the order of the data."""

    def adopt(self, model: nn.Module) -> None:
        """Load the weights into a model of that kind and config; what the authors did not save stays as it is."""
        own = model.state_dict()
        for name, value in self.weights.items():
            if name not in own or own[name].shape != value.shape:
                has = f"shape {tuple(own[name].shape)}" if name in own else "no such parameter"
                raise InputError(
                    f"checkpoint: {name} has shape {tuple(value.shape)}, but the model has {has}; "
                    f"build the model with the keys {dict(self.config)}"
                )
        lacking = [name for name, _ in model.named_parameters() if name not in self.weights]
        if foreign := [name for name in lacking if name.startswith(("items.", "encoder."))]:
            raise InputError(f"checkpoint: lacks {', '.join(foreign)}; it is incomplete or of another encoder")
        model.load_state_dict(dict(self.weights), strict=False)


def read_official(kind: str, path: Path, data: Interactions) -> Official:
    """Read the checkpoint of an authors' run of `kind` ("icsrec" or "mclrec") on the data set of `data`.

    Raises:
        InputError: the file is no checkpoint of tensors, of another method, or of another data set.
    """
    refuse_unknown_source(kind)
    return translate(kind, tensors_of(path), data, source=path.name)


def refuse_unknown_source(kind: str) -> None:
    """Raise `InputError` where no such authors' checkpoints can be read."""
    if kind not in SOURCES:
        raise InputError(f"import-weights: {kind!r} is not known; choose one of {', '.join(SOURCES)}")


def translate(kind: str, state: Mapping[str, Tensor], data: Interactions, *, source: str = "checkpoint") -> Official:
    """The authors' state of `kind` in our terms."""
    weights = {rename(kind, name.removeprefix(PARALLEL), source): value for name, value in state.items()}
    refuse_fragments(kind, weights, source)
    table = weights["items.weight"]
    if table.shape[0] != data.num_items + 2:
        raise InputError(
            f"{source}: its table has {table.shape[0]:,} rows: {table.shape[0] - 2:,} items, padding and mask, "
            f"but the data set has {data.num_items:,} items; name the data set that the checkpoint was trained on"
        )
    padding, mask = 0, data.num_items + 1
    weights["items.weight"] = table[torch.cat([official_rows(kind, data), torch.tensor([padding, mask])])]
    return Official(kind, shapes_of(weights), weights)


def refuse_fragments(kind: str, weights: Mapping[str, Tensor], source: str) -> None:
    """Raise `InputError` unless the weights are finite, and all there from which sizes are read."""
    transformer = "encoder.positions.weight" in weights
    telling = TELLING["transformer" if transformer else "gru"]
    if not {"items.weight", *telling} <= weights.keys():
        raise InputError(f"{source}: has no table of items or no whole layers; is it a whole checkpoint of {kind}?")
    for name, value in weights.items():
        if name in ("items.weight", *telling) and value.dim() != 2:
            raise InputError(f"{source}: {name} has shape {tuple(value.shape)} where a table should be")
        if not bool(value.isfinite().all()):
            raise InputError(f"{source}: {name} holds NaN or infinity; the training must have failed")


def rename(kind: str, name: str, source: str) -> str:
    """One name of the authors -> ours."""
    usual = name
    for theirs, ours in HALVES.items():
        usual = usual.replace(theirs, ours)
    for pattern, replacement in SOURCES[kind].items():
        changed, count = re.subn(rf"^{pattern}", replacement, usual)
        if count:
            return changed
    raise InputError(f"{source}: parameter {name!r} is none of {kind}'s; is it a checkpoint of another method?")


def official_rows(kind: str, data: Interactions) -> Tensor:
    """[I] the authors' row of each of our items.

    ICSRec's rows are the numbers in its text files. MCLRec's are RecBole's: 1, 2, ... by first appearance in the file,
    which on the published files are the same numbers.
    """
    if data.item_ids is None:
        return torch.arange(1, data.num_items + 1)
    numbers = numbers_of(data.item_ids)
    if numbers is None or sorted(numbers) != list(range(1, data.num_items + 1)):
        raise InputError(
            f"data set: {kind}'s checkpoints go with items named 1 to {data.num_items:,}, as in the authors' files; "
            f"this data set names them {data.item_ids[0]!r}, ..."
        )
    return torch.tensor(numbers)


def numbers_of(names: Sequence[str]) -> list[int] | None:
    """Names that are all whole numbers, as numbers."""
    return [int(name) for name in names] if all(name.isdecimal() for name in names) else None


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The model keys that names and shapes tell."""
    layers = {match[1] for name in weights if (match := re.match(r"encoder\.layers\.(\d+)\.", name))}
    keys: dict[str, Any] = {"embedding_size": weights["items.weight"].shape[1], "n_layers": len(layers)}
    if "encoder.positions.weight" in weights:
        keys["max_length"] = weights["encoder.positions.weight"].shape[0]
        keys["inner_size"] = weights["encoder.layers.0.feed_forward.inner.weight"].shape[0]
    else:
        keys |= {"encoder": "gru", "hidden_size": weights["encoder.output.weight"].shape[1]}
        keys["gru_start"] = "padding"
    return keys


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a file written by torch.save, on the CPU, without running anything in it."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle can be broken in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: is no checkpoint of plain tensors ({reason}); if it holds other objects and you trust it, "
            f"load it beside its authors' code and save its state_dict alone: see docs/sequences.md"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()) or not state:
        raise InputError(f"{path}: holds no table of tensors; save model.state_dict() alone")
    return {name: value.float() for name, value in state.items()}


def import_run(kind: str, path: Path, dataset: str, folder: Path) -> Run:
    """Turn an authors' checkpoint into a run folder that `recsys evaluate` and `recsys recommend` accept.

    Raises:
        InputError: the checkpoint is damaged, of another method or of another data set, or the folder exists.
    """
    refuse_unknown_source(kind)
    tree: dict[str, Any] = {"dataset": dataset, "model": {"kind": kind}, "evaluation": {"report": REPORT}}
    split = Experiment.load(tree).split()
    official = read_official(kind, path, split.train)
    tree["model"] |= official.config
    experiment = Experiment.load(tree)
    model = experiment.build(split.train)
    official.adopt(model)
    refuse_long_lists(REPORT, split.train.num_items)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"--out: {folder} cannot be made ({error.strerror}); name a new folder") from error
    furnish(folder, experiment, split)
    checkpoint.save(folder / BEST, model.state_dict(), {"imported": path.name})
    outcome = {"best_epoch": 0, "best_value": None, "last_epoch": 0, "cause": f"import of {path.name}"}
    return finish(Run(folder, experiment, split, model.eval()), outcome)
