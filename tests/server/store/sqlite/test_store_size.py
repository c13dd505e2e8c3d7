"""How much disk events take, text index included: a promise of docs/storage.md."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from random import Random

import orjson
import pytest
from bench.store import Words, generate

from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.opening import open_store
from tests.conftest import eventually

#: Received after anything that a test calls an event's time: 2096.
LATER_US = 4_000_000_000_000_000


COUNT = 4_000


@pytest.mark.slow
def test_events_of_a_kilobyte_take_less_room_than_their_json(tmp_path: Path) -> None:
    """0.78 × at a million; a small file has more beside. An empty one is not counted."""
    path, empty = tmp_path / "store.db", tmp_path / "empty.db"
    open_store(f"sqlite:///{empty}").close()
    raws = list(islice(generate(1_000_000, Words(Random(1))), COUNT))
    store = open_store(f"sqlite:///{path}")
    for start in range(0, COUNT, 500):
        batch = raws[start : start + 500]
        store.append([ReceivedEvent(raw, orjson.loads(raw), LATER_US) for raw in batch])
    last = {"type": "llm", "id": "last", "app": "a", "session_id": "s",
            "observation": {"kind": "llm", "output": "lastofall"}}  # fmt: skip
    store.append([ReceivedEvent(orjson.dumps(last), last, LATER_US)])
    eventually(lambda: store.search("lastofall").items, timeout=60)
    assert store.compact()  # else it depends on how many parts of the index are not merged yet
    store.close()
    size = path.stat().st_size - empty.stat().st_size
    assert size < 0.82 * sum(map(len, raws)), size / sum(map(len, raws))
