"""What a transport gets of a model call that goes through a mask."""

from __future__ import annotations

import re
from typing import Any

from sessionbat import SessionBat
from sessionbat.transports import MemoryTransport
from tests.conftest import assert_adds_up

SECRET = "ada@example.com"


EMAIL = re.compile(r"[\w.]+@[\w.]+")


Event = dict[str, Any]


def record(mask: Any, **observation: Any) -> tuple[SessionBat, list[Event]]:
    """Record one model call through a mask; what is left is what a transport got."""
    memory = MemoryTransport()
    client = SessionBat(app="a", transport=memory, mask=mask)
    client.session().interaction().llm(**observation)
    assert_adds_up(client)
    return client, memory.events


def masked(mask: Any, **observation: Any) -> Event:
    _, [event] = record(mask, **observation)
    return event


def masked_input(mask: Any, value: Any) -> Any:
    return masked(mask, input=value)["observation"]["input"]


def raises(event: Event) -> Event:
    raise KeyError(SECRET)


async def asynchronous(event: Event) -> Event:
    return event
