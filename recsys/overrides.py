"""Keys that are set anew on the command line or from Python: `key=value`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from recsys.config import ConfigError, parse_yaml

Homes = Mapping[str, Mapping[str, str]]
"""Block name -> the keys it may be given, each with the field that it names (another one for an alias)."""


def override(tree: dict[str, Any], assignments: Iterable[str], homes: Callable[[Mapping[str, Any]], Homes]) -> None:
    """Set keys in place, each given as `model.embedding_size=32`, or by its last name where only one block has it.

    Whole blocks (`model=sgl`) are set first, then kinds, then other keys, in whatever order they are given.

    homes: the blocks of a tree; they depend on its kind of model.

    Raises:
        ConfigError: an assignment has no value, its value is not YAML, or several blocks have its key.
    """
    if isinstance(assignments, str):
        raise ConfigError(f"overrides: {assignments!r} is one text; give a list, such as {[assignments]!r}")
    for dotted, value in sorted(map(assigned, assignments), key=lambda pair: precedence(pair[0], homes(tree))):
        *parents, key = dotted.split(".")
        blocks = homes(tree)
        if not parents and key not in tree:
            parents = [home for home, keys in blocks.items() if key in keys]
            if len(parents) > 1:
                spellings = " or ".join(f"{home}.{key}" for home in parents)
                raise ConfigError(f"{dotted!r}: several blocks have the key {key!r}; write {spellings}")
        node = tree
        for parent in parents:
            inner = node.get(parent)
            # `model: simgcl` is short for {kind: simgcl}, an empty block is one without keys; a data set has no kind
            short = isinstance(inner, str) and parent != "dataset"
            node[parent] = {} if inner is None else {"kind": inner} if short else inner
            node = node[parent]
            if not isinstance(node, dict):
                raise ConfigError(f"{dotted}: {parent!r} is not a block of keys")
        names = blocks.get(parents[0], {}) if len(parents) == 1 else {}
        for other in [other for other in node if other != key and names.get(other) == names.get(key, key)]:
            del node[other]  # the same key by another of its names
        node[key] = value


def assigned(assignment: str) -> tuple[str, Any]:
    """The key and the value of `key=value`."""
    dotted, equals, text = assignment.partition("=")
    if dotted.startswith("-"):
        bare = dotted.lstrip("-").replace("-", "_")
        raise ConfigError(
            f"{dotted!r}: is no option of this command (see --help); a key is set as {bare}={text or 'value'}"
        )
    if not equals:
        raise ConfigError(f"{assignment!r}: an override is written key=value, such as model.embedding_size=32")
    return dotted.strip(), parse_yaml(text, assignment)


def precedence(dotted: str, blocks: Homes) -> int:
    """0 for a whole block, 1 for the kind of one, 2 for any other key."""
    return 0 if dotted in ("model", *blocks) else 1 if dotted.endswith(".kind") else 2
