"""What a person may want to know of the keys of a configuration."""

import ast
import inspect
import textwrap
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from graphcl.ranges import Range
from recsys.config import dataclasses_of, kind_of


@dataclass(frozen=True)
class Key:
    """What a person may want to know of one key."""

    name: str
    default: Any
    range: str
    meaning: str


def describe(schema: type) -> list[Key]:
    """Every key of a configuration class: its default, what it may be, and the string below the field."""
    hints = get_type_hints(schema, include_extras=True)
    meanings = {name: text for base in reversed(schema.__mro__) for name, text in field_docs(base).items()}
    return [
        Key(field.name, default_of(field), range_of(hints[field.name]), meanings.get(field.name, ""))
        for field in fields(schema)
        if field.init
    ]


def default_of(field: Field[Any]) -> Any:
    """A field's default value, or "(required)"."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return "(required)" if field.default is MISSING else field.default


def range_of(hint: Any) -> str:
    """The admitted values, in words."""
    if get_origin(hint) is Annotated:
        base, *extra = get_args(hint)
        return " ".join([base.__name__, *(str(part) for part in extra if isinstance(part, Range))])
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if kinds := dataclasses_of(hint):
        return " | ".join(map(kind_of, kinds))
    return range_of_parts(hint)


def range_of_parts(hint: Any) -> str:
    """The admitted values of a plain type, a list, a block or one of several, in words."""
    if inspect.isclass(hint) and get_origin(hint) is None:
        return "nothing" if hint is type(None) else hint.__name__
    parts = [range_of(part) for part in get_args(hint) if part is not Ellipsis]
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(parts)
    if inspect.isclass(get_origin(hint)) and issubclass(get_origin(hint), Mapping):
        return "block of keys" if get_args(hint)[1] is Any else f"block of {parts[1]}"
    return f"list of {', '.join(dict.fromkeys(parts))}" if parts else str(hint)


@cache
def field_docs(schema: type) -> Mapping[str, str]:
    """The strings that stand below the fields of a class, by field."""
    if schema is object or "__dataclass_fields__" not in vars(schema):
        return {}
    body = ast.parse(textwrap.dedent(inspect.getsource(schema))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            docs[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return docs
