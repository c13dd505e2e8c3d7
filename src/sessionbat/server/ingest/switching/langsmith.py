"""LangSmith's protocol at its own addresses, for its SDKs: ``LANGSMITH_ENDPOINT`` is all they need.

``GET /info`` tells an SDK which of the others to use. See ``Protocol``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sessionbat._version import __version__
from sessionbat.server.ingest.body import Decode
from sessionbat.server.ingest.results import Stored
from sessionbat.server.ingest.switching.multipart import boundary_of
from sessionbat.server.settings import Settings
from sessionbat.server.web.refusal import Refused, refusal_response

if TYPE_CHECKING:
    from sessionbat.server.ingest.switching.langsmith_decoding import LangSmithDecoding

INFO_PATH: Final = "/info"
#: Runs a request, and threads: as the SDK's own defaults.
_BATCH: Final = {
    "use_multipart_endpoint": True,
    "size_limit": 100,
    "scale_up_nthreads_limit": 16,
    "scale_up_qsize_trigger": 1000,
    "scale_down_nempty_trigger": 4,
}


class LangSmith:
    """What the addresses of LangSmith share: one memory of which trace is in which app."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def decoding(self) -> LangSmithDecoding:
        """What reads the bodies; loaded with the mapper, by the first request that needs it."""
        from sessionbat.server.ingest.switching.langsmith_decoding import LangSmithDecoding

        return LangSmithDecoding(self._settings)

    def protocols(self) -> list[LangSmithAddress]:
        """Give each address."""
        return [
            LangSmithAddress(self, "/runs/batch"),
            LangSmithAddress(self, "/runs/multipart"),
            LangSmithAddress(self, "/runs"),
            LangSmithAddress(self, "/runs/{run_id}", ("PATCH",)),
            LangSmithAddress(self, "/feedback"),
        ]

    async def info(self, request: Request) -> Response:
        """Tell an SDK what this server takes: multipart forms, compressed with zstd."""
        said = {
            "version": __version__,
            "batch_ingest_config": {**_BATCH, "size_limit_bytes": self._size_limit},
            "instance_flags": {"zstd_compression_enabled": True},
        }
        return Response(orjson.dumps(said), media_type="application/json")

    @property
    def _size_limit(self) -> int:
        return min(20 * 1024 * 1024, self._settings.max_body_bytes // 2)


class LangSmithAddress:
    """One address; see ``Protocol``."""

    headers: Final[Mapping[str, str]] = {"Accept-Encoding": "zstd, gzip"}

    def __init__(self, langsmith: LangSmith, path: str, methods: Sequence[str] = ("POST",)) -> None:
        self.path = path
        self.methods = methods
        self._langsmith = langsmith

    def decode(self, request: Request) -> Decode:
        """Choose what reads a body at this address."""
        if self.path == "/runs/multipart":
            boundary = boundary_of(request.headers.get("content-type", ""))
            return partial(_decode, self._langsmith, "multipart", {"boundary": boundary})
        if self.path == "/runs/batch":
            return partial(_decode, self._langsmith, "batch", {})
        if self.path == "/feedback":
            return partial(_decode, self._langsmith, "feedback", {})
        run_id = request.path_params.get("run_id")
        return partial(_decode, self._langsmith, "single", {"run_id": run_id})

    def answer(self, request: Request, stored: Stored) -> Response:
        """Answer 202 and name what was rejected; 422 where that was all there is."""
        if stored.is_single and stored.rejected:
            _, slug, at, message = stored.rejected[0]
            return self.refuse(request, Refused(422, slug, message, at=at))
        rejected = [each._asdict() for each in stored.rejected]
        content = {"accepted": stored.accepted, "rejected": rejected}
        return Response(orjson.dumps(content), 202, media_type="application/json")

    def refuse(self, request: Request, refused: Refused) -> Response:
        """Answer with the error object."""
        return refusal_response(refused)


def _decode(
    langsmith: LangSmith, how: str, more: Mapping[str, Any], *args: Any, **given: Any
) -> Any:
    return getattr(langsmith.decoding, how)(*args, **more, **given)
