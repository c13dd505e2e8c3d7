"""POST /api/v1/feedback: what a user of a web page says of a session, one at a time.

The page's key is no secret: whoever opens the page has it. So it writes feedback and nothing else,
a body is short, every field is checked, and its events say ``source: "user"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sessionbat.event import (
    FEEDBACK,
    MAX_COMMENT_CHARACTERS,
    MAX_ID_CHARACTERS,
    MAX_LABEL_CHARACTERS,
    MAX_NAME_CHARACTERS,
    is_event_id,
    new_event_id,
)
from sessionbat.server.access.cross_origin import check_origin
from sessionbat.server.ingest.body import Body, Decode, Decoded, inflate
from sessionbat.server.ingest.results import Stored
from sessionbat.server.reading.figures import rfc3339
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.web.addresses import FEEDBACK_PATH
from sessionbat.server.web.operations import Answer, BodyForm, Operation, reference
from sessionbat.server.web.parameters import Schema
from sessionbat.server.web.refusal import Refused, refusal_response

PATH: Final = FEEDBACK_PATH
#: The longest comment in any script, and room for the rest.
MAX_BODY_BYTES: Final = 48 * 1024

_SAYS_SOMETHING: Final = ("score", "label", "comment")


class FeedbackForm:
    """Feedback as a browser sends it; see ``Protocol``."""

    path: Final = PATH
    methods: Final[Sequence[str]] = ("POST",)
    headers: Final[Mapping[str, str]] = {"Accept-Post": "application/json"}

    def decode(self, request: Request) -> Decode:
        """Give what reads the form, once the page it comes from may send it."""
        check_origin(request)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise Refused(
                415,
                "unknown-content-type",
                f"content type {media_type[:80]!r}; send application/json",
                at="Content-Type",
            )
        return decode_feedback

    def answer(self, request: Request, stored: Stored) -> Response:
        """Answer 202."""
        content = {"accepted": stored.accepted, "duplicates": stored.duplicates, "rejected": []}
        return Response(orjson.dumps(content), 202, media_type="application/json")

    def refuse(self, request: Request, refused: Refused) -> Response:
        """Answer with the error object."""
        return refusal_response(refused)


def decode_feedback(body: Body, *, received_at_us: int) -> Decoded:
    """Make an event of one piece of feedback.

    Raises:
        Refused: It is no JSON (400), too large (413), or a field is not what it has to be (422).
    """
    text = inflate(body.data, body.encoding, MAX_BODY_BYTES)
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise Refused(400, "not-json", f"not JSON: {exc}") from exc
    if not isinstance(given, dict):
        raise _bad("", "feedback is a JSON object")
    _check(given)
    event = _event(given, _app(given, body.app), received_at_us)
    received = ReceivedEvent(orjson.dumps(event), event, received_at_us)
    return Decoded([received], [], len(text), len(given), is_single=True)


def describe() -> Operation:
    """Declare the endpoint."""
    return Operation(
        method="post",
        path=PATH,
        name="feedback",
        summary="Take what a user says of a session, a turn or an observation",
        description=(
            f"At most {MAX_BODY_BYTES} bytes. Stored as an event of the type `feedback`, before the"
            " answer. A browser may send it from the origins that its key names (CORS)."
        ),
        request_headers={"Origin": {"type": "string", "description": "Sent by browsers."}},
        body=(BodyForm("application/json", reference("FeedbackForm")),),
        answer=Answer("Stored.", reference("Stored"), status=202),
        refusals={
            400: ("not-json", "bad-encoding", "bad-request"),
            403: ("wrong-origin",),
            405: ("method-not-allowed",),
            408: ("slow-body",),
            413: ("body-too-large",),
            415: ("unknown-content-type", "unknown-encoding"),
            422: ("bad-feedback", "wrong-app"),
            503: ("busy", "store-failed", "store-closed"),
        },
        answer_headers={
            name: {"type": "string", "const": value} for name, value in FeedbackForm.headers.items()
        },
    )


def _text(longest: int) -> Schema:
    return {"type": ["string", "null"], "maxLength": longest}


_ID: Final = {"type": ["string", "null"], "pattern": f"^[ -~]{{1,{MAX_ID_CHARACTERS}}}$"}

#: The record that its body is.
SCHEMAS: Final[Mapping[str, Schema]] = {
    "FeedbackForm": {
        "type": "object",
        "description": "What somebody says: a score, a label or a comment at least.",
        "required": ["session_id"],
        "additionalProperties": False,
        "properties": {
            "app": {**_text(MAX_NAME_CHARACTERS), "description": "Else the key's."},
            "session_id": {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS},
            "interaction_id": {**_text(MAX_NAME_CHARACTERS), "description": "The turn."},
            "observation_id": {**_ID, "description": "The observation that it is about."},
            "id": {**_ID, "description": "Its own; sent again with the same, it is stored once."},
            "score": {"type": ["number", "boolean", "null"]},
            "label": _text(MAX_LABEL_CHARACTERS),
            "comment": _text(MAX_COMMENT_CHARACTERS),
        },
    }
}


def _app(given: dict[str, Any], only: str | None) -> str:
    app = given.get("app") or only
    if not app:
        raise _bad("app", "missing; say which app it is about")
    if only is not None and app != only:
        message = f"this key writes to {only!r} only; use a key of the app"
        raise Refused(422, "wrong-app", message, at="app")
    return str(app)


def _event(given: dict[str, Any], app: str, received_at_us: int) -> dict[str, Any]:
    score = given.get("score")
    return {
        "type": FEEDBACK,
        "id": given.get("id") or new_event_id(),
        "created_at": rfc3339(received_at_us),
        "app": app,
        "session_id": given["session_id"],
        "interaction_id": given.get("interaction_id") or None,
        "tags": [],
        "context": {},
        FEEDBACK: {
            "score": int(score) if isinstance(score, bool) else score,
            "label": given.get("label") or None,
            "comment": given.get("comment") or None,
            "source": "user",
            "observation_id": given.get("observation_id"),
            "outcome": None,
            "reason": None,
        },
    }


def _check(given: dict[str, Any]) -> None:
    for name, value in given.items():
        check = _CHECKS.get(name)
        if check is None:
            known = ", ".join(_CHECKS)
            raise _bad(name[:80], f"there is no such field; feedback has {known}")
        problem = None if value is None else check(value)
        if problem:
            raise _bad(name, problem)
    if not given.get("session_id"):
        raise _bad("session_id", "missing; all feedback names its session")
    if all(given.get(name) in (None, "") for name in _SAYS_SOMETHING):
        raise _bad("", "it says nothing; send a score, a label or a comment")


def _bad(at: str, message: str) -> Refused:
    return Refused(422, "bad-feedback", message, at=at)


def _of_at_most(longest: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            return "must be a string"
        return "" if len(value) <= longest else f"longer than {longest} characters; shorten it"

    return check


def _check_id(value: Any) -> str:
    return "" if is_event_id(value) else "an id is 1 to 128 printable ASCII characters"


def _check_score(value: Any) -> str:
    return "" if isinstance(value, int | float) else "must be a number, true or false"


_NAME: Final = _of_at_most(MAX_NAME_CHARACTERS)
_CHECKS: Final[dict[str, Callable[[Any], str]]] = {
    "app": _NAME,
    "session_id": _NAME,
    "interaction_id": _NAME,
    "observation_id": _check_id,
    "id": _check_id,
    "score": _check_score,
    "label": _of_at_most(MAX_LABEL_CHARACTERS),
    "comment": _of_at_most(MAX_COMMENT_CHARACTERS),
}
