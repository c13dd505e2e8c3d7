"""Arguments of a recording call → what an event may hold. Pure, and never raises on bad input."""

from __future__ import annotations

import hashlib
from datetime import UTC
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from sessionbat._encoding.class_facts import MOMENTS, is_a, library_of, name_of
from sessionbat._encoding.cutting import mend_text
from sessionbat._encoding.known_types import as_number, moment_of
from sessionbat._encoding.plain_values import describe_exception, to_plain

if TYPE_CHECKING:
    from datetime import datetime

#: A longer id of a session or interaction keeps its beginning, and a hash of the whole.
MAX_ID_CHARACTERS: Final = 256
_MAX_HASHED_CHARACTERS: Final = 1024 * 1024


def usable_id(given: object) -> str | None:
    """Turn a host's id into text; None when there is nothing to go by."""
    kind = type(given)
    if kind is str and given.isascii() and 0 < len(given) <= MAX_ID_CHARACTERS:  # type: ignore[attr-defined, arg-type]
        return given  # type: ignore[return-value]
    if is_a(kind, bool) or not (is_a(kind, str) or is_a(kind, int) or _is_uuid(kind)):
        return None
    text = to_plain(given)
    if type(text) is not str:
        text = str(text)
    if len(text) > MAX_ID_CHARACTERS:
        digest = hashlib.sha256(text[:_MAX_HASHED_CHARACTERS].encode("utf-8", "surrogatepass"))
        text = f"{text[: MAX_ID_CHARACTERS - 65]}#{digest.hexdigest()}"
    return mend_text(text) or None


def error_object(error: object) -> Any:
    """Turn an error as given into ``{"type", "message", …}``; an empty one stays an error."""
    kind = type(error)
    if kind is dict:
        return error
    if is_a(kind, BaseException):
        return describe_exception(error)  # type: ignore[arg-type]
    if is_a(kind, type) and is_a(error, BaseException):  # type: ignore[arg-type]
        return {"type": name_of(error), "message": ""}  # type: ignore[arg-type]
    plain = to_plain(error)
    if type(plain) is dict:
        return plain
    if type(plain) is list:
        return {"type": "Error", "message": "", "value": plain}
    return {"type": "Error", "message": plain if type(plain) is str else str(plain)}


def rfc3339(moment: object) -> Any:
    """Write a datetime (naive: local time) or seconds since the epoch as UTC; text stays text."""
    kind = type(moment)
    if moment is None or kind is str:
        return moment
    try:
        if is_a(kind, MOMENTS.datetime):
            known = moment_of(moment)  # type: ignore[arg-type]
            return to_plain(moment) if known is None else _in_utc(known)
        plain = to_plain(moment)
        if type(plain) is int or type(plain) is float:
            return _in_utc(MOMENTS.datetime.fromtimestamp(plain, UTC))
    except (ValueError, OverflowError, OSError):
        return to_plain(moment)  # a time beyond the years 1 to 9999: it stays visible as it is
    return plain


def with_model(metadata: Any, model: object) -> Any:
    """Put the model's name into metadata, where an event keeps it; the argument wins."""
    if model is None:
        return metadata
    if metadata is None:
        return {"model": model}
    return {**as_object(metadata, "metadata"), "model": model}


def as_object(given: Any, name: str) -> dict[Any, Any]:
    """Make an object of an argument that should be one: ``{name: given}`` of anything else."""
    if given is None:
        return {}
    if type(given) is dict:
        return given
    plain = to_plain(given)
    return plain if type(plain) is dict else {name: plain}


def split_metrics(metrics: Any, metadata: Any) -> tuple[Any, Any]:
    """Keep finite numbers as metrics and move anything else to metadata."""
    if type(metrics) is dict:
        metrics = metrics.copy()  # it may be changed by another thread meanwhile
        for value in metrics.values():
            kind = type(value)
            if kind is not int and not (kind is float and isfinite(value)):
                break
        else:
            return metrics, metadata
    return only_numbers(metrics, metadata)


def only_numbers(metrics: Any, metadata: Any) -> tuple[dict[str, Any], dict[Any, Any]]:
    """Do what ``split_metrics`` does, of anything: both results are objects."""
    numbers: dict[str, Any] = {}
    others: dict[str, Any] = {}
    given = as_object(metrics, "metrics").copy()
    exact = {name: as_number(value) for name, value in given.items()}
    for name, value in to_plain(exact).items():
        kind = type(value)
        is_number = kind is int or (kind is float and isfinite(value))
        (numbers if is_number else others)[name] = value
    if not others:
        return numbers, as_object(metadata, "metadata")
    merged = dict(as_object(metadata, "metadata"))
    for name, value in others.items():
        merged[name if name not in merged else f"metrics.{name}"] = value
    return numbers, merged


def _in_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _is_uuid(kind: type) -> bool:
    return library_of(kind) == "uuid" and name_of(kind) == "UUID"
