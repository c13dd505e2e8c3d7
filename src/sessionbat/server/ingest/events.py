"""POST /api/v1/ingestion/events: one event, a JSON array of them, or NDJSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sessionbat.server.ingest.body import Decode, decode_body
from sessionbat.server.ingest.operation import CAPABILITIES, PATH
from sessionbat.server.ingest.results import Stored
from sessionbat.server.settings import Settings
from sessionbat.server.web.refusal import Refused, refusal_response


class Events:
    """The protocol of the SDK; see ``Protocol``.

    Args:
        settings: The limits of a body.
    """

    path: Final = PATH
    methods: Final[Sequence[str]] = ("POST",)
    headers: Final[Mapping[str, str]] = CAPABILITIES

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def decode(self, request: Request) -> Decode:
        """Choose the decoder for the content type and encoding of a request."""
        return partial(
            decode_body,
            is_ndjson=_is_ndjson(request),
            max_bytes=self._settings.max_body_bytes,
            max_events=self._settings.max_body_events,
        )

    def answer(self, request: Request, stored: Stored) -> Response:
        """Answer 202, or 422 when the body was a single event and it was rejected."""
        if stored.is_single and stored.rejected:
            _, slug, at, message = stored.rejected[0]
            return self.refuse(request, Refused(422, slug, message, at=at))
        content = {
            "accepted": stored.accepted,
            "duplicates": stored.duplicates,
            "rejected": [rejected._asdict() for rejected in stored.rejected],
        }
        return Response(orjson.dumps(content), 202, media_type="application/json")

    def refuse(self, request: Request, refused: Refused) -> Response:
        """Answer with the error object."""
        return refusal_response(refused)


def _is_ndjson(request: Request) -> bool:
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in ("application/json", "application/x-ndjson"):
        raise Refused(
            415,
            "unknown-content-type",
            f"content type {media_type[:80]!r}; send application/json or application/x-ndjson",
            at="Content-Type",
        )
    return media_type == "application/x-ndjson"
