"""What a person may want to know of the keys of a configuration."""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from graphcl.ranges import Range
from recsys.config import dataclasses_of, kind_of, literals


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
    choices = [str(value) for value in literals(hint)]
    if choices:
        return " | ".join(choices)
    if kinds := dataclasses_of(hint):
        return " | ".join(map(kind_of, kinds))
    return hint.__name__ if inspect.isclass(hint) else str(hint).replace("typing.", "").replace("collections.abc.", "")


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
