"""A transport that says when something was, where a transcript says so.

The recording API records what is happening now; a transcript tells of what was.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from sessionbat.event import EncodedEvent
from sessionbat.transports import IngestionTransport


class DatedTransport:
    """Hands events on with another ``created_at``: that of ``at``, unless it is None."""

    def __init__(self, transport: IngestionTransport) -> None:
        self.at: datetime | None = None
        self._transport = transport

    def send(self, event: EncodedEvent) -> None:
        """Hand one event on."""
        data = event.data
        if self.at is not None:
            moment = self.at.isoformat(timespec="microseconds").replace("+00:00", "Z").encode()
            # The envelope comes first, and an id holds no quotation mark that is not escaped.
            data = _CREATED_AT.sub(b'"created_at":"%s"' % moment, data, count=1)
        self._transport.send(EncodedEvent(event.id, data))

    def flush(self, timeout: float | None = 30.0) -> object:
        """Flush the transport."""
        return self._transport.flush(timeout)

    def close(self, timeout: float | None = 30.0) -> object:
        """Flush the transport and leave it open: it is not ours."""
        return self._transport.flush(timeout)


_CREATED_AT: Final = re.compile(rb'"created_at":"[^"]*"')
