"""An ingestion protocol: its path, how to decode a request into events, and how to answer.

To add a protocol, add a class of this kind in a file of its own. Keys, limits, timeouts,
compression, threads and commits are the same for all protocols and are not its concern.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from sessionbat.server.ingest.body import Decode
from sessionbat.server.ingest.results import Stored
from sessionbat.server.web.refusal import Refused


class Protocol(typing.Protocol):
    """One way to send events; ``Ingestion`` calls it on the event loop, except where noted."""

    @property
    def path(self) -> str:
        """The path of its endpoint."""

    @property
    def methods(self) -> Sequence[str]:
        """The methods that its endpoint takes."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that every answer has."""

    def decode(self, request: Request) -> Decode:
        """Choose the decoder for a request's body; the decoder is called in another thread.

        Raises:
            Refused: This protocol does not support what its headers announce.
        """

    def answer(self, request: Request, stored: Stored) -> Response:
        """Make the answer for stored events; called in another thread if many were rejected."""

    def refuse(self, request: Request, refused: Refused) -> Response:
        """Make the answer for a refused request."""
