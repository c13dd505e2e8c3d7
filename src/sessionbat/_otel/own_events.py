"""A SessionBat event that went out by OpenTelemetry comes in as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sessionbat._otel import names, values
from sessionbat._otel.attributes import Attributes, Names
from sessionbat._otel.model import Span, SpanKey
from sessionbat._otel.parts import Event, Facts, Kind, Part
from sessionbat.event import FEEDBACK, is_event_id

_TYPE: Final = Names(names.TYPE)
_SESSION: Final = Names("gen_ai.conversation.id")
_KINDS: Final[dict[str, Kind]] = {"llm": "llm", "tool": "tool", "retrieval": "retrieval"}


def own_part(span: Span, attributes: Attributes) -> Part | None:
    """Give the event that a span carries; None for a span that carries none."""
    id_ = attributes.raw.get(names.ID)
    if id_ is None:
        return None
    inside, type_ = _inside(attributes)
    if not is_event_id(id_) or type_ is None:
        return None
    session, interaction = (
        _exactly(attributes.raw.get(each)) for each in (names.SESSION, names.INTERACTION)
    )
    event: Event = {
        **_envelope(attributes),
        "type": type_,
        "id": id_,
        "created_at": attributes.raw.get(names.CREATED_AT),
        "app": values.text(attributes.raw.get(names.APP)),
        "session_id": session or "",
        "interaction_id": interaction,
        **inside,
    }
    facts = Facts(
        kind=_KINDS.get(type_, "feedback"),
        parent=span.parent_id or None,
        session=session or attributes.name(_SESSION),
        interaction=interaction,
        event_id=str(id_),
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        scope=span.scope.name,
        metrics={},
    )
    return Part(SpanKey(span.trace_id, span.span_id), facts, values.plain_event(event))


def _inside(attributes: Attributes) -> tuple[dict[str, Any], str | None]:
    """Give observation and feedback under their names, and the type; no type for neither."""
    said = attributes.name(_TYPE)
    feedback, observation = (
        _whole(attributes.raw.get(n)) for n in (names.FEEDBACK, names.OBSERVATION)
    )
    type_ = said or values.name(values.dig(observation, "kind"))
    is_feedback = type_ == FEEDBACK and isinstance(feedback, dict)
    if type_ is None or not (is_feedback or isinstance(observation, dict)):
        return {}, None
    made: dict[str, Any] = {}
    if isinstance(observation, dict):
        made["observation"] = _observation(observation, type_)
    if feedback is not None:
        made["feedback"] = feedback
    return made, type_


def _whole(said: Any) -> Any:
    """Read JSON of any length: an event has a limit of its own, and so has a body."""
    return values.decoded(said, max_characters=None)


def _exactly(said: Any) -> str | None:
    """Give an id as it was written, with the spaces around it, as far as one is valid."""
    is_valid = isinstance(said, str) and 0 < len(said) <= values.MAX_NAME_CHARACTERS
    return said if is_valid and values.plain(said) == said else values.name(said)


def _envelope(attributes: Attributes) -> dict[str, Any]:
    said = dict(values.mapping(_whole(attributes.raw.get(names.ENVELOPE))))
    tags, context = said.get("tags"), said.get("context")
    said["tags"] = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    said["context"] = context if isinstance(context, dict) else {}
    return said


def _observation(said: Mapping[str, Any], type_: str) -> dict[str, Any]:
    made = {**said, "kind": type_}
    for key in ("metadata", "metrics"):
        if not isinstance(made.get(key), dict):
            made[key] = {}
    return made
