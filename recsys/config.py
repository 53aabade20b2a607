"""From YAML to dataclasses: the one place where what a person wrote is checked, all mistakes at once."""

import inspect
import logging
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from graphcl.errors import InputError, suggest

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
logger = logging.getLogger(__name__)


class ConfigError(InputError):
    """A configuration has mistakes; the message lists every one, a line each, with its key."""


class Loader(yaml.SafeLoader):
    """YAML where `1e-3` is a number (YAML 1.1 reads a string), a date is text, and no key stands twice."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("float", "timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; PyYAML would keep the last of two equal keys without a word."""
        known: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in known:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice in one block; keep one of them", key.start_mark
                )
            known.add(key.value)
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.inf|\.nan)$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, where: str) -> Any:
    """The tree of a YAML text.

    Raises:
        ConfigError: the text is not YAML; the line is named.
    """
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line}: not valid YAML ({getattr(error, 'problem', error)})") from error


def read(path: Path) -> dict[str, Any]:
    """The tree of a YAML file.

    Raises:
        ConfigError: the file is missing, not UTF-8, empty, or not a mapping of keys.
    """
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        near = suggest(path.name, sorted(other.name for other in path.parent.glob("*.y*ml")), quiet=True)
        raise ConfigError(f"{path}: no such file{near}") from None
    except IsADirectoryError:
        inside = next(iter(sorted(other.name for other in path.glob("*.y*ml"))), "config.yaml")
        raise ConfigError(f"{path}: is a folder; name a YAML file, such as {path / inside}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold keys and values, such as 'dataset: ml-100k'; it holds {tree!r}")
    return tree


def named(schema: Any) -> dict[str, str]:
    """Every name that a key of a dataclass may be given, with the field that it names."""
    names = {field.name: field.name for field in fields(schema) if field.init}
    return names | dict(getattr(schema, "aliases", {}))


def build(schema: type[T], tree: Any, where: str) -> T:
    """An instance of the dataclass `schema`, its fields taken from the mapping `tree`.

    Fields may be dataclasses, unions of dataclasses told apart by `kind`, and tuples or mappings of these.

    Raises:
        ConfigError: unknown keys, wrong types, numbers out of range, missing keys: all of them at once.
    """
    problems: list[str] = []
    instance = construct(schema, tree, where, problems)
    if problems:
        raise ConfigError("\n".join(problems))
    return instance


def construct(schema: Any, tree: Any, where: str, problems: list[str]) -> Any:
    """As `build`, but adds to `problems` instead of raising; the result is of no use if any was added."""
    if isinstance(tree, schema):
        return tree
    if not isinstance(tree, Mapping):
        problems.append(f"{where}: must be a block of keys, got {tree!r}")
        return None
    before = len(problems)
    hints = get_type_hints(schema, include_extras=True)
    values = {
        key: convert(hints[key], value, f"{where}.{key}", problems)
        for key, value in named_fields(schema, tree, where, problems).items()
    }
    for field in fields(schema):
        if field.init and field.name not in values and is_required(field):
            problems.append(f"{where}.{field.name}: is missing; it has no default")
    if len(problems) > before:
        return None
    try:
        return schema(**values)
    except InputError as error:
        problems.append(f"{where}: {error}")
        return None


def named_fields(schema: Any, tree: Mapping[str, Any], where: str, problems: list[str]) -> dict[str, Any]:
    """The values of `tree` by field; a declared alias of a field is read as that field, and logged."""
    names = named(schema)
    values: dict[str, Any] = {}
    for given, value in tree.items():
        key = names.get(given)
        if key is None:
            problems.append(f"{where}.{given}: unknown key{suggest(given, names)}")
            continue
        if key != given:
            logger.info("%s.%s: read as %r, its name here", where, given, key)
        if key in values:
            problems.append(f"{where}.{given}: says the same as {key!r}; keep one of them")
        else:
            values[key] = value
    return values


def convert(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    """`value` as the type `hint` asks for; dataclasses inside are constructed, plain values go through pydantic."""
    options = dataclasses_of(hint)
    if is_dataclass(hint):
        return construct(hint, value, where, problems)
    if options and isinstance(value, tuple(options)):
        return value
    if options and (value is not None or type(None) not in get_args(hint)):
        return choose({kind_of(option): option for option in options}, value, where, problems)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and dataclasses_of(arguments[0]) and isinstance(value, list | tuple):
        return tuple(convert(arguments[0], part, f"{where}[{row}]", problems) for row, part in enumerate(value))
    of_parts = inspect.isclass(origin) and issubclass(origin, Mapping) and dataclasses_of(arguments[1])
    if of_parts and isinstance(value, Mapping):
        return {key: convert(arguments[1], part, f"{where}.{key}", problems) for key, part in value.items()}
    return plain(hint, value, where, problems)


def choose(table: Mapping[str, Any], tree: Any, where: str, problems: list[str]) -> Any:
    """An instance of the class that the key `kind` names in `table`, built from the other keys."""
    tree = {"kind": tree} if isinstance(tree, str) else tree
    if not isinstance(tree, Mapping):
        problems.append(f"{where}: must be a block with a 'kind', got {tree!r}; kinds: {', '.join(table)}")
        return None
    kind = tree.get("kind")
    if not isinstance(kind, str) or kind not in table:
        problems.append(f"{where}.kind: {kind!r} is unknown{suggest(kind, table)}")
        return None
    return construct(table[kind], {key: value for key, value in tree.items() if key != "kind"}, where, problems)


def plain(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    """A number, string, list or mapping, checked by pydantic."""
    from pydantic import ValidationError

    try:
        return adapter(hint).validate_python(value)
    except ValidationError as error:
        for problem in error.errors():
            place = ".".join([where, *(str(part) for part in problem["loc"] if isinstance(part, int))])
            message = problem["msg"].removeprefix("Value error, ")
            near = ""
            if problem["type"] in ("tuple_type", "list_type") and not isinstance(value, Mapping):
                message = f"must be a list; write [{value}]"
            if problem["type"] == "literal_error":
                near = suggest(value, [str(choice) for choice in literals(hint)], quiet=True)
            problems.append(f"{place}: {message[0].lower()}{message[1:]} (got {problem['input']!r}){near}")
        return None


@cache
def adapter(hint: Any) -> "TypeAdapter[Any]":
    """What checks values of a type; making one takes far longer than using it."""
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def kind_of(schema: type) -> str:
    """The `kind` by which YAML names a class: LeaveOneOut -> leave_one_out."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", schema.__name__).lower()


def dataclasses_of(hint: Any) -> list[type]:
    """The dataclasses in a union, or the one that `hint` is."""
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return [member for member in members if inspect.isclass(member) and is_dataclass(member)]


def literals(hint: Any) -> Iterator[Any]:
    """Every value that a `Literal` inside `hint` admits."""
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    else:
        for part in get_args(hint):
            yield from literals(part)


def is_required(field: Field[Any]) -> bool:
    """Whether a dataclass field has no default."""
    return field.default is MISSING and field.default_factory is MISSING


def dump(instance: Any, *, kind: bool = False) -> Any:
    """The plain tree from which `build` makes an equal `instance`; every default is spelt out."""
    if is_dataclass(instance) and not isinstance(instance, type):
        hints = get_type_hints(type(instance), include_extras=True)
        head = {"kind": kind_of(type(instance))} if kind else {}
        return head | {
            field.name: dump(getattr(instance, field.name), kind=is_choice(hints[field.name]))
            for field in fields(instance)
            if field.init
        }
    if isinstance(instance, Mapping):
        return {key: dump(value, kind=is_dataclass(value)) for key, value in instance.items()}
    if isinstance(instance, list | tuple):
        return [dump(value, kind=is_dataclass(value)) for value in instance]
    return str(instance) if isinstance(instance, Path) else instance


def is_choice(hint: Any) -> bool:
    """Whether a field takes one of several dataclasses, told apart by `kind`."""
    return not is_dataclass(hint) and bool(dataclasses_of(hint))
