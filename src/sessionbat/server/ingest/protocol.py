"""How events come: an address, how a request there becomes events, and how it is answered.

A further protocol is a further class of this kind, in a file of its own. It says nothing of keys,
room, time, compression, threads or commits: those are the same for all.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from sessionbat.server.ingest.body import Decode
from sessionbat.server.ingest.results import Stored
from sessionbat.server.web.refusal import Refused


class Protocol(typing.Protocol):
    """One way to send events; called by ``Ingestion`` on the event loop, unless it is said."""

    @property
    def path(self) -> str:
        """The address."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers on its every answer."""

    def decode(self, request: Request) -> Decode:
        """Give what turns this request's body into events; it is called in another thread.

        Raises:
            Refused: By its headers, it is nothing that this protocol knows.
        """

    def answer(self, stored: Stored) -> Response:
        """Say what became of a request's events; of many rejected ones in another thread."""

    def refuse(self, refused: Refused) -> Response:
        """Say why a request is not granted."""
