"""Two apps on one server, every address that shows something of them, and keys to ask with."""

from __future__ import annotations

from collections.abc import Callable

from sessionbat.server.app import create_app
from sessionbat.server.settings import Settings
from tests.conftest import eventually
from tests.server.wire import Answer, Wire

MakeKey = Callable[..., str]


RevokeKey = Callable[[str], None]


SESSION = {"app": "support-bot", "session_id": "thread_1"}


#: Every address that shows something, each with parameters that show it.
READING: list[tuple[str, dict[str, str]]] = [
    ("/api/v1/sessions", {}),
    ("/api/v1/session", SESSION),
    ("/api/v1/events", SESSION),
    ("/api/v1/search", {"q": "locked"}),
    ("/api/v1/statistics", {}),
    ("/sessions", {}),
    ("/sessions.json", {}),
    ("/session", {"app": "support-bot", "id": "thread_1"}),
    ("/session.json", {"app": "support-bot", "id": "thread_1"}),
    ("/", {}),
]


SHOWN = (200, 307)


def refused(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.slug


async def paths_of(store_url: str) -> list[str]:
    app = create_app(Settings(store_url=store_url))
    async with app.router.lifespan_context(app):  # which closes the store
        return [str(getattr(route, "path", "")) for route in app.routes]


ITS_DAY = {"from": "2026-11-22T00:00:00Z", "to": "2026-11-23T00:00:00Z", "by": "day"}


def wait_until_searchable(server: Wire, events: int) -> None:
    eventually(
        lambda: (
            len(server.get("/api/v1/search", q="locked").json["items"]) == events
            and sum(i["count"] for i in server.get("/api/v1/statistics", **ITS_DAY).json["items"])
            == events
        )
    )


def same(answer: Answer) -> bytes:
    """What two answers to one question share: not the second at which a page was made."""
    return b"\n".join(line for line in answer.body.split(b"\n") if b"As of " not in line)
