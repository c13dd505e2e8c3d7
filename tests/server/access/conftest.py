"""A server with two apps."""

from __future__ import annotations

import pytest

from tests.server.wire import Wire, event


@pytest.fixture
def stocked(server: Wire) -> Wire:
    """A server with a session of ``support-bot`` and one of ``other``; no key is made yet."""
    words = {"prompt": "I am locked out"}
    server.send(
        [
            event("e1", observation__input=words),
            event("e2", app="other", session_id="s2", tags=["secret"], observation__input=words),
        ]
    )
    return server
