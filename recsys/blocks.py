"""What experiments of recommenders and of embedders share: from a file or a tree of keys to checked blocks."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from graphcl.errors import suggest
from graphcl.training.loop import Training
from recsys.config import ConfigError, choose, construct, named, read
from recsys.overrides import assigned, override

S = TypeVar("S")
Source = str | Path | Mapping[str, Any]

SPELT_OUT = 0.75
"""From this share of its keys on a block counts as spelt out by the library, perhaps by an older version."""


@dataclass(frozen=True)
class Blocks(Generic[S]):
    """A configuration, checked and complete."""

    model: type[Any]
    config: Any
    training: Training
    settings: S
    others: Mapping[str, Any]


def load_blocks(
    source: Source,
    overrides: Iterable[str],
    *,
    models: Mapping[str, type[Any]],
    settings: type[S],
    others: Mapping[str, type[Any]],
    parts: Mapping[str, type[Any]],
) -> Blocks[S]:
    """Take a configuration apart.

    Args:
        source: a YAML file or a tree of keys.
        overrides: keys set anew, such as "model.temperature=0.5".
        models: the learners that `model.kind` may name.
        settings: the keys of the top level.
        others: blocks of the top level besides `model` and `training`.
        parts: keys of `settings` that are blocks, too, and whose keys an override may write without the block's name.

    Raises:
        ConfigError: every mistake, a line each.
    """
    source = Path(source) if isinstance(source, str) else source
    tree = read(source) if isinstance(source, Path) else plain_tree(source)
    override(tree, overrides, lambda now: homes(now, models, {**others, **parts}))
    places = homes(tree, models, {**others, **parts})
    problems: list[str] = []
    block = tree.pop("model", None)
    model = models.get(kind_in(block))
    config = choose({kind: one.Config for kind, one in models.items()}, block or {}, "model", problems)
    if config is not None and isinstance(block, Mapping):
        refuse_idle(config, block, problems)
    trainer = tree.pop("training", None) or {}
    if model is not None and isinstance(trainer, Mapping):
        trainer = {**model.suggested, **trainer}
    training = construct(Training, trainer, "training", problems)
    found = {name: construct(schema, tree.pop(name, None) or {}, name, problems) for name, schema in others.items()}
    known = [field.name for field in fields(settings)]  # type: ignore[arg-type]
    inner = {name: f"{home}.{name}" for home, names in places.items() for name in names}
    for key in [key for key in tree if key not in known]:
        del tree[key]
        problems.append(f"{key}: unknown key{suggest(key, ['model', 'training', *others, *known], inner)}")
    top = construct(settings, tree, source.name if isinstance(source, Path) else "config", problems)
    if problems or model is None:
        raise ConfigError("\n".join(problems))
    return Blocks(model, config, training, top, found)


def homes(
    tree: Mapping[str, Any], models: Mapping[str, type[Any]], blocks: Mapping[str, type[Any]]
) -> dict[str, dict[str, str]]:
    """The keys of each block, aliases too, and the field that each is: {"model": {"lmd": "cl_weight", ...}, ...}."""
    model = models.get(kind_in(tree.get("model")))
    schemas = ({"model": model.Config} if model else {}) | {"training": Training, **blocks}
    return {name: named(schema) for name, schema in schemas.items()}


def refuse_idle(config: Any, block: Mapping[str, Any], problems: list[str]) -> None:
    """Add a problem for each key that a person wrote and that changes nothing beside the others.

    A block that spells out nearly every key was not written by a person: run folders and records spell out all that
    there were when they were made.
    """
    names = named(type(config))
    written = {names[key] for key in block if key in names}
    if len(written) >= SPELT_OUT * len(set(names.values())):
        return
    idle: Mapping[str, str] = getattr(config, "idle", dict)()  # embedders say nothing of the kind
    problems += [f"model.{key}: has no effect; {why}" for key, why in idle.items() if key in written]


def kind_in(block: Any) -> str:
    """The `kind` of a configuration's model block, "" if it has none."""
    kind = block.get("kind", "") if isinstance(block, Mapping) else block
    return kind if isinstance(kind, str) else ""


def kind_of_model(source: Path, overrides: Iterable[str]) -> str:
    """The kind of model that a file and overrides ask for, "" if none."""
    tree = read(source)
    about = [one for one in overrides if assigned(one)[0] in ("model", "model.kind")]
    override(tree, about, lambda now: {})
    return kind_in(tree.get("model"))


def plain_tree(value: Any) -> Any:
    """A copy in which mappings are dictionaries, sequences lists, paths text and numpy's numbers Python's."""
    if isinstance(value, Mapping):
        return {key: plain_tree(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_tree(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value
