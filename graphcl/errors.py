"""The exceptions that a person can do something about."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class InputError(ValueError):
    """What a person gave cannot be used.

    The message is one sentence that says what is wrong, where (file, row, key), and how to mend it. Command lines
    print it without a traceback and exit with a non-zero status.
    """


class NotFiniteError(ArithmeticError):
    """A loss or a gradient has become infinite or NaN; checkpoints saved before are sound."""


class NotFiniteLossError(NotFiniteError, InputError):
    """An objective is not finite: its rows hold what is no number, or a training that went well until then diverges."""


def refuse_unknown_word(name: str, word: str, known: Collection[str]) -> None:
    """Raise `InputError` unless `word` is one of those that `name` may be; the nearest is named."""
    if word not in known:
        near = get_close_matches(str(word), known, 1, 0.0)[0]
        raise InputError(f"{name}: {word!r} is none of {', '.join(known)}; {near!r} is the nearest.")


def suggest(word: Any, known: Iterable[str], elsewhere: Mapping[str, str] | None = None, *, quiet: bool = False) -> str:
    """What a misspelt word may have meant, large and small letters alike; all that is known where nothing is near
    (unless `quiet`).

    elsewhere: words that are known in other places, and how they are written in full.
    """
    names, elsewhere = list(known), elsewhere or {}
    written = {name.lower(): elsewhere.get(name, name) for name in reversed([*names, *elsewhere])}
    close = get_close_matches(str(word).lower(), written, 1)
    if close:
        return f"; did you mean {written[close[0]]!r}?"
    return "" if quiet or not names else f"; known: {', '.join(sorted(names))}"
