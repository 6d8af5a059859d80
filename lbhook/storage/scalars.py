"""What a value of a record may be: each is read into its final type, or is a `Misfit`."""

from ..config import schema
from ..config.schema import Misfit

# Seconds of more than a million years; what a file system or a timer can't take is far beyond.
_LARGEST = 2.0**45
_LAST_MOMENT = 253402300799.0


def text(value: object) -> str:
    """A string that a file can hold: JSON can have half of a character."""
    words = schema.text(value)
    try:
        words.encode()
    except UnicodeEncodeError:
        raise Misfit(("", "half of a character")) from None
    return words


def number(value: object) -> float:
    """A number that is one, and not too large for a time."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise schema.unfit(value, "a number")
    if not abs(value) <= _LARGEST:  # nor one that is no number
        raise schema.unfit(value, "a time")
    return float(value)


def span(value: object) -> float:
    """A time that has gone by, or may."""
    seconds = number(value)
    if seconds < 0:
        raise schema.unfit(value, "a time")
    return seconds


def moment(value: object) -> float:
    """Seconds since 1970, of a year with four digits."""
    seconds = span(value)
    if seconds > _LAST_MOMENT:
        raise schema.unfit(value, "a time")
    return seconds


def place(value: object) -> str:
    """An absolute path."""
    return str(schema.path(value))


def bits(value: object) -> int:
    """Permission bits."""
    mode = schema.whole(value)
    if not 0 <= mode <= 0o7777:
        raise schema.unfit(value, "a mode")
    return mode
