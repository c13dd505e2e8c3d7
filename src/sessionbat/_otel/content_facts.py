"""The facts that an event's content tells: taken anew whenever two arrivals become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sessionbat._otel import names, values
from sessionbat._otel.messages import asked_digest
from sessionbat._otel.parts import Event, Facts

_LENT: Final = ("model", "provider", "finish_reason", "finish_reason_raw", names.STATUS)
_TOKENS: Final = ("input_tokens", "output_tokens", "total_tokens")


def with_content(facts: Facts, event: Event | None) -> Facts:
    """Give the facts with all that the event's content adds to them."""
    if event is None:
        return facts
    observation = event["observation"]
    asked = _messages(observation.get("input"))
    answered = _messages(observation.get("output"))
    metrics = {
        name: value
        for name, value in observation["metrics"].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    metadata = observation["metadata"]
    has_tokens = any(name in metrics for name in _TOKENS)
    error = observation.get("error")
    return replace(
        facts,
        has_tokens=has_tokens,
        has_messages=bool(asked or answered),
        richness=_richness(observation, bool(asked), bool(answered), has_tokens),
        asked=asked_digest(asked) or facts.asked,
        error_type=values.name(error.get("type")) if isinstance(error, Mapping) else None,
        metrics=metrics,
        about={
            name: value[:200]
            for name in _LENT
            if isinstance(value := metadata.get(name), str) and value
        },
    )


def _messages(payload: Any) -> list[Any]:
    found = payload.get("messages") if isinstance(payload, Mapping) else None
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _richness(
    observation: Mapping[str, Any], has_asked: bool, has_answered: bool, has_tokens: bool
) -> int:
    error = observation.get("error")
    message = error.get("message") if isinstance(error, Mapping) else None
    return (
        8 * (observation.get("input") is not None)
        + 8 * (observation.get("output") is not None)
        + 8 * has_asked
        + 8 * has_answered
        + 6 * has_tokens
        + 2 * bool(message)
        + 1 * ("cache_read_tokens" in observation["metrics"])
        + 1 * ("reasoning_tokens" in observation["metrics"])
        + 1 * ("finish_reason" in observation["metadata"])
    )
