"""OTLP over HTTP, as a protocol of ingestion: ``/v1/traces``, ``/v1/logs``, ``/v1/metrics``.

The form of a body is told by its content type, and where that is wrong by the body itself. What
reads and maps spans is loaded by the first request: most servers never see one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from sessionbat.server.ingest.body import Body, Decode, Decoded
from sessionbat.server.ingest.otlp import answers
from sessionbat.server.ingest.otlp.answers import Form
from sessionbat.server.ingest.otlp.signals import Signal, path_of
from sessionbat.server.ingest.results import Stored
from sessionbat.server.settings import Settings
from sessionbat.server.web.refusal import Refused

_SCOPE_NAME: Final = "sessionbat.otlp"


@dataclass(slots=True)
class Exchange:
    """What one request is answered in, and whether its content type was wrong."""

    form: Form
    #: Said in the answer; its sender may print it.
    warning: str = ""


class Otlp:
    """One signal at one address; see ``Protocol``.

    Args:
        signal: What is sent there.
        base: The path before ``/v1/...``.
        settings: The limits of a body.
    """

    methods: Final[Sequence[str]] = ("POST",)

    def __init__(self, signal: Signal, base: str, settings: Settings) -> None:
        self.path: str = path_of(signal, base)
        self.headers: Mapping[str, str] = {"Accept-Encoding": "zstd, gzip"}
        self._signal: Signal = signal
        self._settings = settings

    def decode(self, request: Request) -> Decode:
        """Give what decodes a body, whatever its content type says."""
        exchange = _exchange_of(request)
        if self._signal == "metrics":
            return _drop
        return partial(_decode, signal=self._signal, settings=self._settings, exchange=exchange)

    def answer(self, request: Request, stored: Stored) -> Response:
        """Answer 200 with what was rejected, in the form of the request."""
        exchange = _exchange_of(request)
        return answers.answer(self._signal, exchange.form, stored.rejected, exchange.warning)

    def refuse(self, request: Request, refused: Refused) -> Response:
        """Answer with a status that a client of OTLP takes rightly, in the form of the request."""
        return answers.refuse(_exchange_of(request).form, refused)


def _exchange_of(request: Request) -> Exchange:
    exchange: Exchange | None = request.scope.get(_SCOPE_NAME)
    if exchange is None:
        is_json = "json" in request.headers.get("content-type", "").lower()
        exchange = request.scope[_SCOPE_NAME] = Exchange("json" if is_json else "protobuf")
    return exchange


def _decode(
    body: Body, *, signal: Signal, settings: Settings, exchange: Exchange, received_at_us: int
) -> Decoded:
    from sessionbat.server.ingest.otlp.decoding import decode_otlp  # with the mapper: 40 ms

    return decode_otlp(
        body,
        signal=signal,
        exchange=exchange,
        max_bytes=settings.max_body_bytes,
        max_items=settings.max_body_events,
        received_at_us=received_at_us,
    )


def _drop(body: Body, *, received_at_us: int) -> Decoded:  # noqa: ARG001
    """Take metrics, of which there is nothing to show: an exporter that is refused complains."""
    return Decoded([], [], len(body.data), 0, False)
