"""What one arrival says of one span, and where its event belongs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import compress
from operator import is_not
from typing import Any, Final, Literal, NamedTuple

from sessionbat._otel import names
from sessionbat._otel.model import SpanKey
from sessionbat.event import FEEDBACK

Event = dict[str, Any]
Kind = Literal["llm", "tool", "retrieval", "feedback", "structure", "log"]


_write: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
#: Never written to.
_NOTHING: Final[Mapping[str, Any]] = {}


class Facts(NamedTuple):
    """What of a part decides where its event belongs. JSON by ``to_json``; holds no content.

    Texts are cut to ``MAX_FACT_CHARACTERS``; what a model was asked is here as a digest only.
    """

    kind: Kind
    #: The parent's span id; None for a root.
    parent: str | None = None
    #: The session, user and interaction that this span itself names.
    session: str | None = None
    user: str | None = None
    interaction: str | None = None
    #: The id of a SessionBat event that came this way; it is kept as it is, also its linkage.
    event_id: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    #: The instrumentation's name.
    scope: str = ""
    #: ``embeddings``, ``rerank`` and the like; empty for what is usual for its kind.
    operation: str = ""
    #: Whether the span is an agent's run, and whose; also a model call may name its agent.
    is_agent: bool = False
    agent: str | None = None
    node: str | None = None
    tool: str | None = None
    call_id: str | None = None
    response_id: str | None = None
    #: A tool call known only from a later request; ``pair`` is the digest of call and result.
    from_transcript: bool = False
    pair: str | None = None
    #: Of log records: the call and its result each come alone, and make one tool call together.
    is_piece: bool = False
    has_tokens: bool = False
    has_messages: bool = False
    #: Structure whose tokens are a sum: it has an event, for when nobody sent the calls.
    has_sums: bool = False
    #: How much the event says; of two records of one call the richer becomes the event.
    richness: int = 0
    error_type: str | None = None
    is_http: bool = False
    #: How many messages the user sent, and a digest of the last.
    asked: str | None = None
    #: Digest of question, answer and minute: two instrumentations that tell of one call share it.
    twin: str | None = None
    #: Figures and names that a poorer record may lend to the richer one of the same call.
    metrics: Mapping[str, float] = _NOTHING
    about: Mapping[str, str] = _NOTHING
    #: A log record of a call of its own, not one that completes its span.
    is_log: bool = False
    #: Not a call but what the failed call of its parent was asked.
    is_question: bool = False
    #: Of messages that came as log records: time, ``in`` or ``out``, digest; as in the event.
    logged: tuple[tuple[int, str, str], ...] = ()
    #: Of an end that came without its beginning.
    first_token_ns: int | None = None
    #: How feedback names this run where it does not name the trace; of feedback, which it names.
    run: str | None = None
    #: Of feedback on a whole session, which names no trace.
    is_of_session: bool = False
    #: A run's end that did not say of what kind the run is.
    is_untyped: bool = False

    def to_json(self) -> bytes:
        """Write it as a store keeps it; what is as usual is left out."""
        return _write(self.said()).encode("utf-8", "surrogatepass")

    def said(self) -> dict[str, Any]:
        """Give what is not as usual, by its name; JSON of it is what ``from_json`` reads."""
        named = zip(self._fields, self, _USUAL, strict=True)
        differing = map(is_not, self, _USUAL)  # most are the very constants
        return {name: value for name, value, usual in compress(named, differing) if value != usual}

    @classmethod
    def from_json(cls, data: bytes) -> Facts:
        """Read what ``to_json`` wrote, also an earlier or later version's."""
        said = json.loads(data.decode("utf-8", "surrogatepass"))
        known = {name: value for name, value in said.items() if name in cls._fields}
        known["logged"] = tuple(tuple(each) for each in known.get("logged", ()))
        return cls(**{"kind": "structure", **known})

    @property
    def joins(self) -> tuple[str, ...]:
        """Keys under which parts of other traces of the app may belong to the same event.

        For example ``response:chatcmpl-1`` or ``call:call_1``: a store finds parts by them.
        """
        found: tuple[str, ...] = ()
        if self.response_id:
            found = (f"response:{self.response_id}",)
        if self.twin:
            found += (f"twin:{self.twin}",)
        if self.call_id:
            found += (f"call:{self.call_id}",)
        if self.pair:
            found += (f"pair:{self.pair}",)
        if self.run:
            found += (f"run:{self.run}",)
        return found


_USUAL: Final = (None, *Facts._field_defaults.values())


@dataclass(frozen=True, slots=True)
class Part:
    """What one arrival says of one span."""

    key: SpanKey
    facts: Facts
    #: The event, complete but for what ``Place`` adds; None for structure.
    event: Event | None


class Place(NamedTuple):
    """Where a part's event belongs, as far as is known now."""

    session_id: str
    interaction_id: str | None = None
    #: Whether the event keeps the linkage that it came with, as events of SessionBat do.
    as_it_came: bool = False
    #: ``trace`` where no span names a session.
    session_from: str | None = None
    user: str | None = None
    #: The id of the event, or of the agent's span, in which this happened.
    parent: str | None = None
    agent: str | None = None
    node: str | None = None
    #: The ids of all spans that tell of the same call; empty where there is one.
    span_ids: tuple[str, ...] = ()
    #: Lent by the other records of the same call, for where the event has none of its own.
    error_type: str | None = None
    #: When it ended and began, where the event came without its times.
    times: tuple[str | None, str | None] | None = None
    metrics: Mapping[str, float] = _NOTHING
    about: Mapping[str, str] = _NOTHING
    #: Of feedback: the id of the event that it is about; None where that is a turn or session.
    about_event: str | None = None

    def apply(self, event: Event) -> Event:
        """Give the event at this place: session, interaction, parent, agent, ids of all spans.

        Applying another place afterwards gives what applying that one alone would have given.
        """
        if self.as_it_came:
            return {**event, "session_id": self.session_id, "interaction_id": self.interaction_id}
        if is_feedback(event):
            return self._apply_to_feedback(event)
        event = unplaced(event)
        event["session_id"], event["interaction_id"] = self.session_id, self.interaction_id
        _put(event["context"], {names.SESSION_FROM: self.session_from, _USER: self.user})
        linkage = {
            names.PARENT: self.parent,
            names.AGENT: self.agent,
            names.NODE: self.node,
            names.SPAN_IDS: list(self.span_ids) or None,
        }
        _put(event["observation"]["metadata"], linkage)
        self._lend(event, event["observation"])
        return event

    def _apply_to_feedback(self, event: Event) -> Event:
        event = unplaced(event)
        _put(event["context"], {names.SESSION_FROM: self.session_from, _USER: self.user})
        event["session_id"], event["interaction_id"] = self.session_id, self.interaction_id
        event[FEEDBACK]["observation_id"] = self.about_event
        return event

    def _lend(self, event: Event, observation: dict[str, Any]) -> None:
        lent = []
        if self.times is not None:
            event["created_at"], observation["started_at"] = self.times
            if observation["metadata"].get(names.SOURCE) != names.TRANSCRIPT:
                lent.append("times")
        for part, figures in (("metrics", self.metrics), ("metadata", self.about)):
            for name, value in sorted(figures.items()):
                if name not in observation[part]:
                    observation[part][name] = value
                    lent.append(f"{part}.{name}")
        if self.error_type is not None and observation.get("error") is None:
            observation["error"] = {"type": self.error_type, "message": ""}
            lent.append("error")
        if lent:
            observation["metadata"][names.LENT] = lent


def is_feedback(event: Event) -> bool:
    """Whether an event is feedback, which has no observation."""
    return "observation" not in event


def unplaced(event: Event) -> Event:
    """Copy an event without what a place gave it."""
    if is_feedback(event):
        return _unplaced_feedback(event)
    observation = dict(event["observation"])
    metadata, metrics = dict(observation["metadata"]), dict(observation["metrics"])
    observation["metadata"], observation["metrics"] = metadata, metrics
    lent = metadata.pop(names.LENT, ())
    is_from_transcript = metadata.get(names.SOURCE) == names.TRANSCRIPT
    if is_from_transcript or (isinstance(lent, list) and "times" in lent):
        event = {**event, "created_at": None}
        observation["started_at"] = None
    for each in lent if isinstance(lent, list) else ():
        part, _, name = each.partition(".") if isinstance(each, str) else ("", "", "")
        if part == "error":
            observation["error"] = None
        elif part in ("metrics", "metadata"):
            observation[part].pop(name, None)
    for name in (names.PARENT, names.AGENT, names.NODE, names.SPAN_IDS):
        metadata.pop(name, None)
    context = {k: v for k, v in event["context"].items() if k not in (names.SESSION_FROM, _USER)}
    placeless = {"session_id": "", "interaction_id": None}
    return {**event, **placeless, "context": context, "observation": observation}


def _unplaced_feedback(event: Event) -> Event:
    context = {k: v for k, v in event["context"].items() if k not in (names.SESSION_FROM, _USER)}
    said = {**event[FEEDBACK], "observation_id": None}
    placeless = {"session_id": "", "interaction_id": None}
    return {**event, **placeless, "context": context, FEEDBACK: said}


_USER: Final = "user_id"


def _put(target: dict[str, Any], found: Mapping[str, Any]) -> None:
    target.update({name: value for name, value in found.items() if value is not None})
