"""What an event is: an observation, or feedback, in its envelope; and the rules for its ids.

The SDK writes by these rules and the server reads by them; nothing else defines an event.
Standard library only, and no I/O.
"""

from __future__ import annotations

import os
import time
from itertools import count
from typing import Any, Final, NamedTuple

LLM: Final = "llm"
TOOL: Final = "tool"
RETRIEVAL: Final = "retrieval"
#: What somebody says of a session, a turn or an observation; no observation itself.
FEEDBACK: Final = "feedback"

#: Context keys that every server filters by without being told to.
RESERVED_CONTEXT: Final = ("user_id", "workspace_id", "environment", "release")

MAX_ID_CHARACTERS: Final = 128
#: Of an event's app, session, interaction and type: each stands in lists of a thousand.
MAX_NAME_CHARACTERS: Final = 1024
MAX_EVENT_BYTES: Final = 1024 * 1024
#: Of a feedback's label, outcome and source, and of its comment and reason.
MAX_LABEL_CHARACTERS: Final = 256
MAX_COMMENT_CHARACTERS: Final = 8192
#: No event is cut below this; room for its envelope.
MIN_EVENT_BYTES: Final = 16 * 1024


class EncodedEvent(NamedTuple):
    """An event as it leaves the process: immutable, and the same bytes at every retry."""

    id: str
    #: One line of UTF-8 JSON without a line break inside or at its end.
    data: bytes


class Problem(NamedTuple):
    """Why something is not an event: where (``observation.kind``), and what to do about it."""

    at: str
    message: str


def new_event_id() -> str:
    """Make an id: a UUIDv7 (RFC 9562, section 5.7) as 32 hex digits.

    Ids of a process ascend, unless its wall clock is set back; they are never the same.
    """
    try:
        number = time.time_ns() // 1_000_000 << 80 | next(_id_tails)
        return number.to_bytes(16, "big").hex()  # half the price of formatting it
    except (OverflowError, TypeError):  # a test of the host has set the clock before 1970
        return next(_id_tails).to_bytes(16, "big").hex()


def is_event_id(value: object) -> bool:
    """Whether a value may serve as an event's id: 1 to 128 printable ASCII characters."""
    return (
        type(value) is str  # exactly: a subclass could answer the questions below as it likes
        and 1 <= len(value) <= MAX_ID_CHARACTERS
        and value.isascii()
        and value.isprintable()
    )


def _new_id_tails() -> count[int]:
    # Version and variant bits, twelve random bits, then a counter that starts at random in the
    # lower half of its 62 bits: it never carries into the variant, and two processes never meet.
    seed = int.from_bytes(os.urandom(10), "big")
    rand_a = seed >> 61 & 0xFFF
    start = seed & (1 << 61) - 1
    return count(7 << 76 | rand_a << 64 | 2 << 62 | start)


def _reseed_ids() -> None:
    global _id_tails
    _id_tails = _new_id_tails()


_id_tails = _new_id_tails()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reseed_ids)


def find_problem(event: object) -> Problem | None:
    """Say why a decoded JSON value is not an event, or None when it is one.

    Only what the store needs to file an event is required: ``type``, ``id``, ``app``,
    ``session_id``, and ``observation.kind`` or, where the type is feedback, ``feedback``. The rest
    may be missing; unknown fields are welcome.
    """
    if not isinstance(event, dict):
        return Problem("", f"an event is a JSON object, not {_json_type(event)}")
    if _is_usual(event):
        return None
    for name, required in _ENVELOPE_TEXTS.items():
        problem = _text_problem(event, name, required=required)
        if problem is not None:
            return problem
    if not is_event_id(event["id"]):
        return Problem("id", "an id is 1 to 128 printable ASCII characters")
    inside = _feedback_problem if event["type"] == FEEDBACK else _observation_problem
    return _shape_problem(event) or inside(event)


def _is_usual(event: dict[str, Any]) -> bool:
    """Whether an event has every field in the usual type: a fifth of the price of looking closely.

    False says nothing: such an event is looked at field by field.
    """
    get, observation = event.get, event.get("observation")
    if type(observation) is not dict:
        return False
    kind, tags = get("type"), get("tags")
    return (
        type(kind) is str
        and kind != FEEDBACK
        and observation.get("kind") == kind != ""
        and is_event_id(get("id"))
        and type(app := get("app")) is str
        and app != ""
        and type(session_id := get("session_id")) is str
        and session_id != ""
        and type(interaction_id := get("interaction_id")) is str
        and type(created_at := get("created_at")) is str
        and len(kind) + len(app) + len(session_id) + len(interaction_id) + len(created_at)
        <= MAX_NAME_CHARACTERS
        and type(get("context")) is dict
        and type(tags) is list
        and {*map(type, tags)} <= _ONLY_TEXTS
        and type(observation.get("metadata")) is dict
        and type(observation.get("metrics")) is dict
    )


_ONLY_TEXTS = {str}

_ENVELOPE_TEXTS = {
    "type": True,
    "id": True,
    "app": True,
    "session_id": True,
    "interaction_id": False,
    "created_at": False,
}


def _text_problem(owner: dict[str, Any], name: str, *, required: bool) -> Problem | None:
    value = owner.get(name)
    if value is None:
        return Problem(name, f"missing; every event has {name}") if required else None
    if not isinstance(value, str):
        return Problem(name, f"must be a string, not {_json_type(value)}")
    if required and not value:
        return Problem(name, "must not be empty")
    if len(value) > MAX_NAME_CHARACTERS:
        return Problem(name, f"longer than {MAX_NAME_CHARACTERS} characters; shorten it")
    return None


def _shape_problem(event: dict[str, Any]) -> Problem | None:
    tags = event.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(t, str) for t in tags)):
        return Problem("tags", "must be an array of strings")
    context = event.get("context")
    if context is not None and not isinstance(context, dict):
        return Problem("context", f"must be an object, not {_json_type(context)}")
    return None


def _feedback_problem(event: dict[str, Any]) -> Problem | None:
    feedback = event.get("feedback")
    if isinstance(feedback, dict):
        return None
    return Problem("feedback", f"must be an object, not {_json_type(feedback)}")


def _observation_problem(event: dict[str, Any]) -> Problem | None:
    observation = event.get("observation")
    if not isinstance(observation, dict):
        return Problem("observation", f"must be an object, not {_json_type(observation)}")
    kind = observation.get("kind")
    if kind != event["type"]:
        return Problem("observation.kind", "must equal the event's type")
    for name in ("metadata", "metrics"):
        value = observation.get(name)
        if value is not None and not isinstance(value, dict):
            return Problem(f"observation.{name}", f"must be an object, not {_json_type(value)}")
    return None


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    for kinds, name in (
        (bool, "a boolean"),
        ((int, float), "a number"),
        (str, "a string"),
        (dict, "an object"),
        ((list, tuple), "an array"),
    ):
        if isinstance(value, kinds):
            return name
    return type(value).__name__
