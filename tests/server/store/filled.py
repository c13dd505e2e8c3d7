"""Stores that commands are tried on: sessions of one's own, and what is in a file afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sessionbat.cli import run
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.opening import Store, open_store
from tests.server.wire import event

#: Received after anything that a test calls an event's time: 2096.
LATER_US = 4_000_000_000_000_000


STORES = Path(__file__).parent / "sqlite" / "stores"


NOW = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)


def conversation(number: int, user: str | None = None, **changes: Any) -> list[dict[str, Any]]:
    """Make a session of three events, on the number-th day of November 2026."""
    return [
        event(
            f"e{number}-{n}",
            session_id=f"s{number}",
            created_at=f"2026-11-{number + 1:02}T10:00:0{n}Z",
            context={"user_id": user or f"user{number}"},
            observation__input=f"question{number}",
            **changes,
        )
        for n in range(3)
    ]


def fill(path: str | Path, *sessions: list[dict[str, Any]]) -> None:
    store = open_store(f"sqlite:///{path}")
    store.append([received(each) for session in sessions for each in session])
    store.rebuild()  # all is searchable then
    store.close()


def received(event: dict[str, Any]) -> ReceivedEvent:
    return ReceivedEvent(json.dumps(event).encode(), event, LATER_US)


def sessions_in(path: str | Path) -> list[str]:
    store = open_store(f"sqlite:///{path}")
    try:
        return sorted(session.session_id for session in store.list_sessions().items)
    finally:
        store.close()


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that cannot work; give its one line."""
    assert run(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def all_items(store: Store) -> list[Any]:
    items, after = [], None
    while True:
        page = store.list_received(after=after)
        items += page.items
        after = page.next
        if after is None:
            return items


def exported(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    capsys.readouterr()
    assert run(["export", *options]) == 0
    return [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]
