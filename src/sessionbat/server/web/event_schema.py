"""The JSON Schema of an event: documents the rules of ``sessionbat.event.find_problem``.

``find_problem`` does the checking; a test compares the two.
"""

from __future__ import annotations

from typing import Any, Final

from sessionbat.event import FEEDBACK, MAX_ID_CHARACTERS, MAX_NAME_CHARACTERS

_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS}
_TEXT_OR_NULL: Final = {"type": ["string", "null"], "maxLength": MAX_NAME_CHARACTERS}
_OBJECT_OR_NULL: Final = {"type": ["object", "null"]}

_OBSERVATION: Final = {
    "type": "object",
    "required": ["kind"],
    "properties": {
        "kind": {**_TEXT, "description": "The same as the event's `type`."},
        "metadata": _OBJECT_OR_NULL,
        "metrics": _OBJECT_OR_NULL,
    },
}

EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "description": "One completed observation, or feedback. Fields that are not listed are stored"
    " as they come.",
    "required": ["type", "id", "app", "session_id"],
    "properties": {
        "type": {**_TEXT, "examples": ["llm", "tool", "retrieval", "feedback"]},
        "id": {
            "type": "string",
            "pattern": f"^[ -~]{{1,{MAX_ID_CHARACTERS}}}$",
            "description": "Printable ASCII. Of two events of a session with one id,"
            " the first counts.",
        },
        "app": _TEXT,
        "session_id": _TEXT,
        "interaction_id": _TEXT_OR_NULL,
        "created_at": {**_TEXT_OR_NULL, "description": "When it was recorded, RFC 3339."},
        "tags": {"type": ["array", "null"], "items": {"type": "string"}},
        "context": _OBJECT_OR_NULL,
    },
    "if": {"properties": {"type": {"const": FEEDBACK}}},
    "then": {
        "required": ["feedback"],
        "properties": {
            "feedback": {
                "type": "object",
                "description": "What somebody says of the session, the turn or an observation.",
            }
        },
    },
    "else": {"required": ["observation"], "properties": {"observation": _OBSERVATION}},
}
