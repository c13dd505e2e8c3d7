"""Arguments of a recording call → what an event may hold. Pure, and never raises on bad input."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any
from uuid import UUID

from sessionbat._plain_values import describe_exception, mend_text, to_plain


def usable_id(given: object) -> str | None:
    """Turn a host's id into text; None when there is nothing to go by."""
    if type(given) is str:
        return mend_text(given) or None
    if isinstance(given, str):
        return mend_text(str.__str__(given)) or None
    if isinstance(given, int | UUID) and not isinstance(given, bool):
        return str(to_plain(given))
    return None


def error_object(error: object) -> Any:
    """Turn an error as given into ``{"type", "message", …}``; an empty one stays an error."""
    if isinstance(error, BaseException):
        return describe_exception(error)
    if isinstance(error, str):
        return {"type": "Error", "message": error}
    if isinstance(error, Mapping):
        return error
    return {"type": "Error", "message": str(to_plain(error))}


def rfc3339(moment: object) -> Any:
    """Write a datetime (naive: local time) or seconds since the epoch as UTC; text stays text."""
    if moment is None or isinstance(moment, str):
        return moment
    try:
        if isinstance(moment, int | float):
            moment = datetime.fromtimestamp(moment, UTC)
        if isinstance(moment, datetime):
            return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None
    return to_plain(moment)


def with_model(metadata: Any, model: object) -> Any:
    """Put the model's name into metadata, where an event keeps it; the argument wins."""
    if model is None:
        return metadata
    if not metadata:
        return {"model": model}
    return {**_as_object(metadata, "metadata"), "model": model}


def split_metrics(metrics: Any, metadata: Any) -> tuple[Any, Any]:
    """Keep finite numbers as metrics and move anything else to metadata."""
    if type(metrics) is dict:
        for value in metrics.values():
            kind = type(value)
            if kind is not int and not (kind is float and isfinite(value)):
                break
        else:
            return metrics, metadata
    plain = to_plain(_as_object(metrics, "metrics"))
    numbers = {name: value for name, value in plain.items() if _is_number(value)}
    others = {name: value for name, value in plain.items() if name not in numbers}
    return numbers, {**others, **_as_object(metadata or {}, "metadata")}


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isfinite(value)


def _as_object(given: object, name: str) -> Mapping[Any, Any]:
    return given if isinstance(given, Mapping) else {name: given}
