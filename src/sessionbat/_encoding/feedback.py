"""What somebody says of a session → the ``feedback`` of an event, and its bytes.

Pure. Every field is null, a finite number or a short text, whatever was given; nothing raises.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

import orjson

from sessionbat._encoding.cutting import cut_text, mend_text
from sessionbat._encoding.encoder import encode_value
from sessionbat._encoding.known_types import as_number
from sessionbat._encoding.plain_values import to_plain
from sessionbat._encoding.well_formed import usable_id
from sessionbat.event import MAX_COMMENT_CHARACTERS, MAX_LABEL_CHARACTERS, is_event_id

#: The fields of texts, and how long each may be.
_TEXTS: Final = {
    "label": MAX_LABEL_CHARACTERS,
    "comment": MAX_COMMENT_CHARACTERS,
    "source": MAX_LABEL_CHARACTERS,
    "outcome": MAX_LABEL_CHARACTERS,
    "reason": MAX_COMMENT_CHARACTERS,
}
FIELDS: Final = ("score", "label", "comment", "source", "observation_id", "outcome", "reason")
_SAYS_SOMETHING: Final = ("score", "label", "comment", "outcome")


def plain_feedback(given: dict[str, Any]) -> dict[str, Any]:
    """Copy what is given, whole, as a mask sees it: all fields, of plain values."""
    return {name: to_plain(as_number(given.get(name))) for name in FIELDS}


def feedback_object(given: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Make the object of the fields that are given.

    Returns:
        All its fields, and why one of them is not as it was given: a slug, or None.
    """
    feedback: dict[str, Any] = dict.fromkeys(FIELDS)
    feedback["score"] = _score(given.get("score"))
    for name, longest in _TEXTS.items():
        feedback[name] = _text(given.get(name), longest)
    feedback["observation_id"] = _reference(given.get("observation_id"))
    for name, slug in (("score", "bad-score"), ("observation_id", "bad-observation-id")):
        if feedback[name] is None and given.get(name) is not None:
            return feedback, slug
    says_nothing = all(feedback[name] is None for name in _SAYS_SOMETHING)
    return feedback, "empty-feedback" if says_nothing else None


def encode_feedback(envelope: dict[str, Any], feedback: dict[str, Any], max_bytes: int) -> bytes:
    """Encode one event of feedback as a single line of at most ``max_bytes``.

    Args:
        envelope: The outer fields.
        feedback: As ``feedback_object`` makes it.
        max_bytes: The longest line allowed. For a shorter one the long texts are cut, visibly;
            where that is not enough, tags and context are left out.
    """
    line = _line(envelope, feedback)
    if len(line) > max_bytes:
        longest = {**_TEXTS, **dict.fromkeys(("comment", "reason"), MAX_LABEL_CHARACTERS)}
        feedback = {**feedback, **{n: _text(feedback[n], most) for n, most in longest.items()}}
        line = _line(envelope, feedback)
    if len(line) > max_bytes:
        line = _line({**envelope, "tags": [], "context": {}}, feedback)
    return line


def _line(envelope: dict[str, Any], feedback: dict[str, Any]) -> bytes:
    return orjson.dumps({**envelope, "feedback": feedback})


def _score(given: object) -> float | None:
    if type(given) is bool:
        return int(given)
    value = to_plain(as_number(given))
    kind = type(value)
    return value if kind is int or (kind is float and isfinite(value)) else None


def _text(given: object, longest: int) -> str | None:
    value = to_plain(given)
    if value is None or value == "":
        return None
    if type(value) is not str:
        value = encode_value(value, longest).decode()
    return mend_text(cut_text(value, longest))


def _reference(given: object) -> str | None:
    text = usable_id(given)
    return text if is_event_id(text) else None
