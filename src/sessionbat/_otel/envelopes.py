"""An event's envelope out of a span: its id, times, app, tags, context."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from sessionbat._otel import names, values
from sessionbat._otel.host_metadata import HostMetadata
from sessionbat._otel.model import Scope, SpanKey
from sessionbat._otel.parts import Event
from sessionbat.event import MAX_NAME_CHARACTERS, is_event_id

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_9999_NS: Final = 253_370_764_800 * 10**9
_ENVIRONMENT: Final = ("deployment.environment.name", "deployment.environment")
_PROJECT: Final = "langsmith.trace.session_name"
_NO_SERVICE: Final = "unknown_service"


def id_of(key: SpanKey, given: Any = None) -> str:
    """Give the id of a span's event: the one that it carries, else trace and span."""
    if is_event_id(given):
        return str(given)
    made = f"{key.trace}-{key.span}"
    return made if is_event_id(made) else values.digest(*key)


def time_of(at_ns: int | None) -> str | None:
    """Write nanoseconds since 1970 as RFC 3339 in UTC; None for a time that is not sane."""
    if at_ns is None or not 0 < at_ns < _YEAR_9999_NS:
        return None
    seconds, rest = divmod(at_ns, 10**9)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(1024)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds")[:19]


def app_of(scope: Scope, attributes: Mapping[str, Any]) -> str:
    """Give the app as the sender names it; only a hint, a key's app is what counts."""
    for each in (names.APP, _PROJECT):
        if (said := attributes.get(each)) is not None and (project := values.name(said)):
            return project[:MAX_NAME_CHARACTERS]
    app: str | None = scope.known.get("app")
    if app is None:
        service = values.name(scope.resource.get("service.name")) or ""
        app = "" if service.startswith(_NO_SERVICE) else service[:MAX_NAME_CHARACTERS]
        scope.known["app"] = app
    return app


def envelope_of(
    kind: str, key: SpanKey, scope: Scope, attributes: Mapping[str, Any], host: HostMetadata
) -> Event:
    """Make an event without its observation's content; session and interaction come later."""
    return {
        "type": kind,
        "id": id_of(key, attributes.get(names.ID)),
        "created_at": None,
        "app": app_of(scope, attributes),
        "session_id": "",
        "interaction_id": None,
        "tags": host.tags,
        "context": _context(scope, attributes),
        "observation": {
            "kind": kind,
            "name": None,
            "started_at": None,
            "input": None,
            "output": None,
            "error": None,
            "metadata": {},
            "metrics": {},
        },
    }


def _context(scope: Scope, attributes: Mapping[str, Any]) -> dict[str, Any]:
    known = scope.known.get("context")
    if known is None:
        known = scope.known["context"] = (
            _first(scope.resource, *_ENVIRONMENT),
            _first(scope.resource, "service.version"),
        )
    environment, version = known
    said = {
        "environment": environment or _first(attributes, "langfuse.environment", *_ENVIRONMENT),
        "release": _first(attributes, "langfuse.release") or version,
    }
    return {key: value for key, value in said.items() if value is not None}


def _first(source: Mapping[str, Any], *candidates: str) -> str | None:
    for each in candidates:
        value = source.get(each)
        if value is not None and (found := values.name(value)) is not None:
            return found
    return None
