"""Events of texts, put into a store and its index."""

from __future__ import annotations

import json
from typing import Any

from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.conftest import eventually


def received(id: str, output: Any, given: Any = None, session: str = "s") -> ReceivedEvent:
    event = {
        "type": "tool",
        "id": id,
        "app": "bot",
        "session_id": session,
        "observation": {"kind": "tool", "name": None, "input": given, "output": output},
    }
    raw = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    return ReceivedEvent(raw, event, 1)


def put(store: SqliteStore, *events: ReceivedEvent) -> None:
    store.append(events)
    eventually(lambda: store.measure().events_behind == 0)


def words_in_index(store: SqliteStore) -> int:
    connection: Any = store._writer.connection
    with store._writer.lock:
        connection.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.v USING fts5vocab(main, texts, row)"
        )
        return int(connection.execute("SELECT count(*) FROM temp.v WHERE cnt > 0").fetchone()[0])
