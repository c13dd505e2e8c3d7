"""A handler with its events, and LangChain's own tracer beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("langchain_core")

from sessionbat import LangChainCallbackHandler, SessionBat
from sessionbat.transports import MemoryTransport
from tests.integration.oracle import Oracle
from tests.integration.provider_api import provider_url  # noqa: F401 - a fixture


class Recorded:
    """One client, one handler, and what they recorded."""

    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self.client = SessionBat(app="test-app", transport=self.transport)
        self.handler: LangChainCallbackHandler = self.client.langchain_callback()
        self.oracle = Oracle()

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.transport.events

    @property
    def observations(self) -> list[dict[str, Any]]:
        return [event["observation"] for event in self.events]

    def only(self, kind: str | None = None) -> dict[str, Any]:
        """The one observation there is, or the one of a kind."""
        (found,) = [o for o in self.observations if kind in (None, o["kind"])]
        return found

    def config(self, **more: Any) -> dict[str, Any]:
        return {"callbacks": [self.handler], **more}

    @property
    def runs_held(self) -> int:
        return len(self.handler._book)


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """At the end of every test: nothing is held, no callback failed, nothing was dropped."""
    recording = Recorded()
    yield recording
    assert recording.runs_held == 0
    book = recording.handler._book
    assert (book._held_bytes, book._watched, book._left) == (0, {}, {})
    assert recording.handler.failures == 0
    assert recording.client.stats().dropped == {}
