"""Ids of LangSmith's runs, traces and feedback, as the rest of the mapper writes ids."""

from __future__ import annotations

import re
from typing import Any, Final

from sessionbat._otel import values
from sessionbat._otel.times import time_ns

_UUID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\Z", re.IGNORECASE)
#: ``20261128T182037646551Z`` and a UUID: when a run began, and which it is.
_STEP: Final = re.compile(r"(\d{8}T\d{6})(\d{6})Z(.{1,64})\Z")
_MAX_ORDER: Final = 64 * 1024


def id_of_run(value: Any) -> str | None:
    """Give an id without dashes, as runs that LangSmith sends by OpenTelemetry have theirs."""
    found = values.name(value)
    if found is None:
        return None
    return found.replace("-", "").lower() if is_uuid(found) else found


def is_uuid(text: str) -> bool:
    """Whether an id has the form that LangSmith's SDKs give theirs."""
    return _UUID.match(text) is not None


def span_id_by_otel(run: str) -> str | None:
    """Give the span id under which a run comes where LangSmith sends it by OpenTelemetry."""
    return run[:16] if len(run) == 32 and _UUID.match(run) else None


def trace_in(order: Any) -> str | None:
    """Give the trace that a run's ``dotted_order`` names: its first step."""
    step = _step(_text(order).partition(".")[0])
    return id_of_run(step[3]) if step else None


def parent_in(order: Any) -> str | None:
    """Give the parent that a run's ``dotted_order`` names: its last step but one."""
    steps = _text(order).rsplit(".", 2)
    step = _step(steps[-2]) if len(steps) > 1 else None
    return id_of_run(step[3]) if step else None


def start_in(order: Any) -> int | None:
    """Give when a run began by its ``dotted_order``: its last step."""
    step = _step(_text(order).rpartition(".")[2])
    return time_ns(f"{step[1]}.{step[2]}") if step else None


def _text(order: Any) -> str:
    return order if isinstance(order, str) and len(order) <= _MAX_ORDER else ""


def _step(text: str) -> re.Match[str] | None:
    return _STEP.match(text)
