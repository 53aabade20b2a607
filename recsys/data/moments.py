"""Moments that a person gives: numbers in the unit of the data, or dates."""

from datetime import UTC, datetime

from graphcl.errors import InputError


def seconds(key: str, moment: float | str) -> float:
    """A number as it is, a date as seconds since 1970, in UTC where it names no other zone.

    Raises:
        InputError: the text is no date.
    """
    if not isinstance(moment, str):
        return moment
    try:
        date = datetime.fromisoformat(moment)
    except ValueError as error:
        raise InputError(f"{key}: {moment!r} is neither a number nor a date such as 2020-12-31 ({error})") from error
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def shown(moment: float | str | None) -> str:
    """A moment as it was given."""
    return f"{moment:.15g}" if isinstance(moment, float | int) else str(moment)
