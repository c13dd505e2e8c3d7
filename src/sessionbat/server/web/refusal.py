"""A request that is not granted: its HTTP status and the error object that says why.

Raised by ingestion, the read API and the pages; ``refusal_response`` turns it into the answer.
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
        message: What is wrong and what to do, without anything of a payload.
        at: The parameter or the field it is about; empty for the request as a whole.
        headers: Further headers of the answer.
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
        """Give the error object that is the answer's body."""
        return {"error": {"slug": self.slug, "at": self.at, "message": self.message}}


def refusal_response(refused: Refused) -> Response:
    """Turn a refusal into its answer."""
    return Response(
        orjson.dumps(refused.content()),
        refused.status,
        headers=refused.headers,
        media_type="application/json",
    )
