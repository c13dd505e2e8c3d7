"""The exception for a refused request: its HTTP status and the error object.

Raised by ingestion, the read API and the pages; ``refusal_response`` turns it into the response.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response


class Refused(Exception):
    """A request cannot be answered as asked.

    Args:
        status: The HTTP status.
        slug: The name of its entry in ``docs/messages.md``.
        message: The problem and how to fix it; never quotes a payload.
        at: The parameter or field at fault; empty for the request as a whole.
        headers: Further headers of the response.
    """

    def __init__(
        self,
        status: int,
        slug: str,
        message: str,
        *,
        at: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{message} [{slug}]")
        self.status = status
        self.slug = slug
        self.message = message
        self.at = at
        self.headers = dict(headers or {})

    def content(self) -> dict[str, Any]:
        """Return the error object for the response's body."""
        return {"error": {"slug": self.slug, "at": self.at, "message": self.message}}


def refusal_response(refused: Refused) -> Response:
    """Turn a refusal into a response."""
    return Response(
        orjson.dumps(refused.content()),
        refused.status,
        headers=refused.headers,
        media_type="application/json",
    )
