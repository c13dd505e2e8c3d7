"""Langfuse's protocol at its own addresses, for its SDKs: ``LANGFUSE_HOST`` is all they need.

Spans come by OpenTelemetry (``otlp``); here are scores, the ingestion of SDKs before 3, and what
an SDK asks to see whether the server is there. See ``Protocol``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sessionbat.server.access.permissions import access_of
from sessionbat.server.ingest.body import Decode, Decoded, Rejected
from sessionbat.server.ingest.results import Stored
from sessionbat.server.settings import Settings
from sessionbat.server.web.refusal import Refused, refusal_response

BASE: Final = "/api/public"
#: The version of Langfuse whose protocol this is; SDKs look at it for what the server can do.
VERSION: Final = "3.0.0"

_IDS: Final = "sessionbat.langfuse_ids"
_PLACE: Final = re.compile(r"\w+\[(\d+)\]")
_MEDIA_TYPE: Final = "application/json"


class _Batches:
    """Bodies whose ids are noted while they are read, for the answer; see ``Protocol``.

    Args:
        settings: The limits of a body.
        decode: Reads a body, and adds the ids to ``ids``.
    """

    methods: Final[Sequence[str]] = ("POST",)
    headers: Final[Mapping[str, str]] = {"Accept-Encoding": "zstd, gzip"}

    def __init__(self, settings: Settings, decode: Callable[..., Decoded]) -> None:
        self._settings = settings
        self._decode = decode

    def decode(self, request: Request) -> Decode:
        """Give what reads a body."""
        ids: list[str] = []
        request.scope[_IDS] = ids
        return partial(self._decode, settings=self._settings, ids=ids)

    def refuse(self, request: Request, refused: Refused) -> Response:
        """Answer with the error object."""
        return refusal_response(refused)


class LegacyIngestion(_Batches):
    """``/ingestion``: batches of events, each answered for itself."""

    path: Final = f"{BASE}/ingestion"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, _decode_events)

    def answer(self, request: Request, stored: Stored) -> Response:
        """Answer 207 with the outcome of each event."""
        ids = request.scope.get(_IDS, [])
        errors = {_place_of(each): each for each in stored.rejected}
        content = {
            "successes": [
                {"id": id_, "status": 201} for place, id_ in enumerate(ids) if place not in errors
            ],
            "errors": [
                {"id": ids[place], "status": 400, "message": each.message, "error": each.slug}
                for place, each in errors.items()
            ],
        }
        return Response(orjson.dumps(content), 207, media_type=_MEDIA_TYPE)


class Scores(_Batches):
    """``/scores``: one score or a list."""

    path: Final = f"{BASE}/scores"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, _decode_scores)

    def answer(self, request: Request, stored: Stored) -> Response:
        """Answer 200; with what was rejected, 207."""
        if not stored.rejected:
            said = {"id": next(iter(request.scope.get(_IDS, [])), ""), "message": "Accepted"}
            return Response(orjson.dumps(said), 200, media_type=_MEDIA_TYPE)
        errors = [
            {"index": _place_of(each), "status": 400, "message": each.message}
            for each in stored.rejected
        ]
        counts = {"accepted": stored.accepted, "rejected": len(errors), "errors": errors}
        return Response(orjson.dumps(counts), 207, media_type=_MEDIA_TYPE)


async def health(_: Request) -> Response:
    """Say that the server is there."""
    return Response(orjson.dumps({"status": "OK", "version": VERSION}), media_type=_MEDIA_TYPE)


async def projects(request: Request) -> Response:
    """Name the project of a key: the app that it writes to."""
    name = access_of(request.scope).app or "sessionbat"
    project = {
        "id": name,
        "name": name,
        "organization": {"id": "sessionbat", "name": "SessionBat"},
        "metadata": {},
    }
    return Response(orjson.dumps({"data": [project]}), media_type=_MEDIA_TYPE)


def _place_of(rejected: Rejected) -> int:
    found = _PLACE.match(rejected.at)
    return int(found[1]) if found else 0


def _decode_events(*args: Any, **given: Any) -> Decoded:
    from sessionbat.server.ingest.switching.langfuse_decoding import decode_events

    return decode_events(*args, **given)


def _decode_scores(*args: Any, **given: Any) -> Decoded:
    from sessionbat.server.ingest.switching.langfuse_decoding import decode_scores

    return decode_scores(*args, **given)
