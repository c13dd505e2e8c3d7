"""How payloads lie on the disk: what is resent once, and nothing of a user in the dictionary."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.opening import Store, open_store
from sessionbat.server.store.sqlite import payloads

#: A method of zstandard's that some builds of it are without.
MANY = "multi_compress_to_buffer"


def call(id: str, messages: list[Any], session_id: str = "s1") -> ReceivedEvent:
    observation = {"kind": "llm", "input": {"messages": messages}}
    event = {
        "type": "llm",
        "id": id,
        "app": "a",
        "session_id": session_id,
        "observation": observation,
    }
    return ReceivedEvent(json.dumps(event, separators=(",", ":")).encode(), event, 0)


def said(count: int) -> list[Any]:
    return [{"role": "user", "content": f"message {n}"} for n in range(count)]


@pytest.fixture
def count(tmp_path: Path) -> Callable[[str], Any]:
    """Ask the file itself for one value."""
    return lambda query: sqlite3.connect(tmp_path / "store.db").execute(query).fetchone()[0]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


def test_a_message_is_stored_once_a_session(store: Store, count: Callable[[str], Any]) -> None:
    store.append([call(f"e{n}", said(n)) for n in range(4, 20)])
    assert count("SELECT count(*) FROM messages") == 19


def test_each_session_has_its_own_messages(store: Store, count: Callable[[str], Any]) -> None:
    store.append([call(s, said(4), s) for s in ("s1", "s2")])
    assert count("SELECT count(*) FROM messages") == 8


def test_short_lists_stay_where_they_are(store: Store, count: Callable[[str], Any]) -> None:
    store.append([call("e1", said(3))])
    assert count("SELECT count(*) FROM messages") == 0


@pytest.mark.parametrize(
    "listed",
    [list(range(1000)), ["a text of some length"] * 1000, [{}] * 1000, [{"a": 1}] * 1000,
     [[{"role": "user"}]] * 1000, [0.1, *said(100)], [*said(100), None]],
)  # fmt: skip
def test_other_lists_cost_no_message_rows(
    store: Store, count: Callable[[str], Any], listed: list[Any]
) -> None:
    store.append([call("e1", listed)])
    assert count("SELECT count(*) FROM messages") == 0
    assert read_back(store, "e1") == call("e1", listed).raw


@pytest.mark.parametrize("number", [1999, 2000, 2001, 5000])
def test_a_long_conversation_costs_so_many_rows_and_no_more(
    store: Store, count: Callable[[str], Any], number: int
) -> None:
    store.append([call("e1", said(number)), call("e2", said(number + 1))])
    assert count("SELECT count(*) FROM messages") == min(number + 1, 2000)
    for name, each in (("e1", number), ("e2", number + 1)):
        assert read_back(store, name) == call(name, said(each)).raw


def test_messages_of_several_events_and_sessions_are_told_apart_in_one_append(
    store: Store, count: Callable[[str], Any]
) -> None:
    events = [call(f"{s}{n}", said(n) * 2, s) for n in range(4, 9) for s in ("s1", "s2")]
    store.append(events)
    assert count("SELECT count(*) FROM messages") == 16
    assert count("SELECT count(DISTINCT event) FROM messages") == 10
    for each in events:
        found = store.find_event("a", each.event["session_id"], each.event["id"])
        assert found is not None
        assert found.raw == each.raw


def test_a_number_of_a_deleted_message_is_never_given_again(
    store: Store, count: Callable[[str], Any]
) -> None:
    store.append([call("e1", said(4))])
    store.delete_sessions([("a", "s1")])
    store.append([call("e2", said(4))])
    assert count("SELECT min(id) FROM messages") == 5


def read_back(store: Store, id: str) -> bytes:
    found = store.find_event("a", "s1", id)
    assert found is not None
    return found.raw


def test_what_storing_takes_grows_with_messages_and_bytes(store: Store) -> None:
    short, long, large = store.prepare(
        [call("e1", said(4)), call("e2", said(2000)), call("e3", [random.randbytes(10**6).hex()])]
    )
    assert short.work < 1000 < long.work
    assert short.work < 1000 < large.work


def test_a_conversation_grows_the_file_by_what_is_new(
    store: Store, count: Callable[[str], Any]
) -> None:
    store.append([call(f"e{n}", said(n)) for n in range(4, 200)])
    raw = sum(len(call(f"e{n}", said(n)).raw) for n in range(4, 200))
    stored = count(
        "SELECT (SELECT sum(length(data)) FROM messages) + (SELECT sum(length(data)) FROM payloads)"
    )
    assert stored < raw / 25


def test_an_append_that_fails_leaves_no_message(store: Store, count: Callable[[str], Any]) -> None:
    with pytest.raises(UnicodeEncodeError):
        store.append([call("e1", said(4)), call("e2", said(4), "\ud800")])
    assert count("SELECT count(*) FROM messages") == 0


def test_a_zstandard_that_compresses_singly_only_writes_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [call(f"e{n}", said(n % 7)) for n in range(20)]
    at_once = payloads.PayloadWriter().encode(events)
    monkeypatch.setattr(zstandard, "backend_features", zstandard.backend_features - {MANY})
    monkeypatch.delattr(zstandard.ZstdCompressor, MANY, raising=False)
    assert payloads.PayloadWriter().encode(events) == at_once


def test_the_dictionary_never_changes() -> None:
    # What it compressed is lost without its very bytes; a better one gets a name and a codec.
    data = payloads._DICTIONARY.read_bytes()
    assert (
        hashlib.sha256(data).hexdigest()
        == "407596f3dbe1581d51e1d005bb80a1abd8075825d693d44e80b6fc9c5ed22003"
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("characters", [1, 30, 200, 1_500])
def test_messages_that_wait_take_no_more_memory_than_their_length(characters: int) -> None:
    """In a process of its own: nothing that was freed before has room for them."""
    script = f"""
import orjson
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.sqlite.payloads import _find_messages

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

messages = [{{"role": "user", "content": "x" * {characters}, "n": n}} for n in range(2_000)]
event = {{"observation": {{"input": messages}}}}
received = ReceivedEvent(orjson.dumps(event), event, 0)
before = resident()
kept = [_find_messages(received) for _ in range(15)]
length = sum(len(message) for each in kept for message in each.messages)
around = sum(len(each.around) for each in kept)
print((resident() - before - length - around) // 30_000)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 250  # bytes for each message, beside its own
