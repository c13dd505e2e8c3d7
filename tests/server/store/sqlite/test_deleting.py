"""Deletion in SQLite: whatever happened before, the file is as if it had never been otherwise."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionbat.server.records import ReceivedEvent, SessionFilter
from sessionbat.server.store.sqlite import deletion
from sessionbat.server.store.sqlite.store import SqliteStore

#: Received after anything that a test calls an event's time: 2096.
LATER_US = 4_000_000_000_000_000


DAY = datetime(2026, 11, 22, tzinfo=UTC)
APPS = ("bot", "agent")
SESSIONS = ("s1", "s2")
USERS = ("ann", "bob")
WORDS = ("reset", "password", "天気", "café", "order")
Key = tuple[str, str]


def received(number: int, choice: dict[str, Any]) -> ReceivedEvent:
    """Make an event of what hypothesis chose; the number makes its id its own."""
    kind, words = choice["kind"], choice["words"]
    messages = [{"role": "user", "content": word} for word in words * choice["resent"]]
    at = DAY + timedelta(minutes=choice["minute"])
    event = {
        "type": kind,
        "id": f"{number:032x}" if number % 2 else f"event-{number}",
        "app": choice["app"],
        "session_id": choice["session"],
        "interaction_id": f"turn-{number % 3}",
        "created_at": at.isoformat(),
        "tags": ["tag"] if number % 2 else [],
        "context": {"user_id": choice["user"]},
        "observation": {
            "kind": kind,
            "name": "lookup" if kind == "tool" else None,
            "input": {"messages": messages} if kind == "llm" else {"query": " ".join(words)},
            "output": f"answer{number}",
            "error": {"type": "Timeout"} if choice["failed"] else None,
            "metadata": {"model": "small"},
            "metrics": {"latency_ms": choice["latency"], "cost_usd": 0.1, "input_tokens": 7},
        },
    }
    return ReceivedEvent(
        json.dumps(event, separators=(",", ":")).encode(), event, LATER_US + number
    )


CHOICES = st.fixed_dictionaries(
    {
        "app": st.sampled_from(APPS),
        "session": st.sampled_from(SESSIONS),
        "user": st.sampled_from(USERS),
        "kind": st.sampled_from(("llm", "tool", "retrieval")),
        "words": st.lists(st.sampled_from(WORDS), min_size=1, max_size=5),
        "resent": st.integers(1, 3),
        "minute": st.integers(0, 120),
        "failed": st.booleans(),
        "latency": st.sampled_from((0.5, 20, 800.5)),
    }
)
KEYS = st.lists(st.tuples(st.sampled_from(APPS), st.sampled_from(SESSIONS)), min_size=1, max_size=3)
APPENDING = st.tuples(st.just("append"), st.lists(CHOICES, min_size=3, max_size=10))
FOLLOWING = st.tuples(st.sampled_from(("follow", "reopen")), st.none())
REMOVING = st.one_of(
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("expire"), st.integers(0, 120)),
    st.tuples(st.sampled_from(("compact", "rebuild")), st.none()),
)
ROUNDS = st.lists(st.tuples(APPENDING, FOLLOWING, REMOVING), min_size=1, max_size=4)


@contextmanager
def opened(path: Path) -> Iterator[SqliteStore]:
    """Open a store whose index and statistics are made when the test says so."""
    store = SqliteStore(str(path))
    store._follower.close()
    try:
        yield store
    finally:
        store.close()


def follow(store: SqliteStore) -> None:
    while not store._follow():
        pass


def answers(store: SqliteStore) -> list[Any]:
    """Everything that the store says, and every word of its index."""
    sorts: tuple[Any, ...] = ("last_activity", "duration", "cost", "errors")
    wheres = [
        *(SessionFilter(context=(("user_id", user),)) for user in USERS),
        *(SessionFilter(tag="tag"), SessionFilter(model="small"), SessionFilter(tool="lookup")),
        *(SessionFilter(error_type="Timeout"), SessionFilter(error=True)),
    ]
    spans: tuple[Any, ...] = ("hour", "day")
    groups: tuple[Any, ...] = (None, "app", "model", "tool")
    return [
        (store.list_apps(), store.count_events()),
        [sorted(map(repr, store.list_sessions(sort=sort).items)) for sort in sorts],
        [sorted(s.session_id for s in store.list_sessions(where=where).items) for where in wheres],
        [store.list_events(*key).items for key in itertools.product(APPS, SESSIONS)],
        [
            store.search(word, app=app, limit=1000).items
            for word in (*WORDS, "answer*")
            for app in (None, *APPS)
        ],
        [
            store.statistics(by=by, since=DAY, until=DAY + timedelta(days=1), group=group)
            for by in spans
            for group in groups
        ],
        store.list_received().items,
        store.list_idle_sessions(limit=1000),
        index(store),
        rows_without_owner(store),
    ]


def index(store: SqliteStore) -> list[Any]:
    """Count each word of the text index: how many events, how often; a ghost would show."""
    with store._writer.transaction() as connection:
        connection.execute("INSERT INTO texts(texts) VALUES ('integrity-check')")
        connection.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.words USING fts5vocab(main, texts, row)"
        )
        found = connection.execute("SELECT term, doc, cnt FROM temp.words").fetchall()
    # App numbers differ between two stores: "app1" is the scope.
    return sorted((word, *counts) for word, *counts in found if word not in ("app1", "app2"))


def rows_without_owner(store: SqliteStore) -> list[Any]:
    with store._writer.transaction() as connection:
        broken = connection.execute("PRAGMA foreign_key_check").fetchall()
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("labels", "session_labels", "interactions", "messages", "payloads")
        ]
        sums = connection.execute(
            "SELECT app, key, value, sessions FROM labels WHERE sessions <>"
            " (SELECT count(*) FROM session_labels WHERE label = labels.id)"
        ).fetchall()
    return [broken, counts, sums]


def expired(events: Sequence[ReceivedEvent], before: datetime) -> set[Key]:
    last: dict[Key, datetime] = {}
    for _, event, _ in events:
        key, at = (event["app"], event["session_id"]), datetime.fromisoformat(event["created_at"])
        last[key] = max(at, last.get(key, at))
    return {key for key, at in last.items() if at < before}


def without(events: Sequence[ReceivedEvent], keys: Sequence[Key] | set[Key]) -> list[ReceivedEvent]:
    return [each for each in events if (each.event["app"], each.event["session_id"]) not in keys]


def run(path: Path, steps: Sequence[tuple[str, Any]]) -> tuple[list[ReceivedEvent], list[Any]]:
    """Do what hypothesis chose; give the events that should be left, and what the store says."""
    left: list[ReceivedEvent] = []
    numbers = itertools.count()
    store = SqliteStore(str(path))
    store._follower.close()
    for name, given_ in steps:
        if name == "append":
            new = [received(next(numbers), choice) for choice in given_]
            store.append(new)
            left += new
        elif name == "delete":
            store.delete_sessions(given_)
            left = without(left, given_)
        elif name == "expire":
            before = DAY + timedelta(minutes=given_)
            keys = [(s.app, s.session_id) for s in store.list_idle_sessions(before=before)]
            assert set(keys) == expired(left, before)
            store.delete_sessions(keys, idle_since=before)
            left = without(left, keys)
        elif name == "follow":
            store._follow()
        elif name == "reopen":
            store.close()
            store = SqliteStore(str(path))
            store._follower.close()
        else:
            getattr(store, name)()
    follow(store)
    said = answers(store)
    store.close()
    return left, said


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(ROUNDS)
def test_after_any_deletions_all_answers_are_those_of_a_store_with_the_rest_alone(
    rounds: list[tuple[tuple[str, Any], ...]],
) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(deletion, "STEP_EVENTS", 3)  # sessions take several steps
        left, said = run(Path(directory) / "store.db", list(itertools.chain(*rounds)))
        with opened(Path(directory) / "fresh.db") as fresh:
            fresh.append(left)
            follow(fresh)
            assert said == answers(fresh)


# One after another


def conversation(count: int, app: str = "bot", session: str = "s1", user: str = "ann") -> list[Any]:
    """Make model calls of an agent that resends all it has, each with a word of its own."""
    return [
        received(
            n,
            {
                "app": app,
                "session": session,
                "user": user,
                "kind": "llm",
                "words": [f"word{m}" for m in range(n + 1)],
                "resent": 1,
                "minute": n,
                "failed": n % 2 == 0,
                "latency": 100 + n,
            },
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("most", [2, 3, 1000])
def test_a_session_that_is_named_twice_is_deleted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(deletion, "STEP_EVENTS", most)
    kept = conversation(3, session="s2")
    with opened(tmp_path / "store.db") as store, opened(tmp_path / "fresh.db") as fresh:
        store.append([*conversation(2), *kept])
        follow(store)
        removed = store.delete_sessions([("bot", "s1"), ("bot", "s1")])
        assert (removed.sessions, removed.events) == (1, 2)
        fresh.append(kept)
        follow(fresh)
        assert answers(store) == answers(fresh)


class Cut(Exception):
    pass


def cut_short(store: SqliteStore, keys: Sequence[Key], after: int) -> None:
    """Delete, but be interrupted after some steps."""
    left = iter(range(after))

    def cut(_: int) -> None:
        if next(left, None) is None:
            raise Cut

    with pytest.raises(Cut):
        store.delete_sessions(keys, on_progress=cut)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "STEP_EVENTS", 4)


@pytest.mark.usefixtures("small_steps")
def test_a_deletion_cut_short_leaves_a_session_that_ended_earlier(tmp_path: Path) -> None:
    events = conversation(10)
    with opened(tmp_path / "store.db") as store, opened(tmp_path / "fresh.db") as fresh:
        store.append(events)
        follow(store)
        cut_short(store, [("bot", "s1")], after=1)
        fresh.append(events[:2])
        follow(fresh)
        assert answers(store)[3] == answers(fresh)[3]  # each event is whole
        assert store.get_session("bot", "s1") == fresh.get_session("bot", "s1")
        assert index(store) == index(fresh)


@pytest.mark.usefixtures("small_steps")
def test_a_deletion_cut_short_is_done_by_the_next(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as store, opened(tmp_path / "fresh.db") as fresh:
        store.append([*conversation(10), *conversation(3, session="s2", app="agent")])
        follow(store)
        cut_short(store, [("bot", "s1")], after=0)
        assert store.delete_sessions([("bot", "s1")]).sessions == 1
        fresh.append(conversation(3, session="s2", app="agent"))
        follow(fresh)
        assert answers(store) == answers(fresh)


@pytest.mark.usefixtures("small_steps")
def test_a_session_that_becomes_active_while_it_goes_does_not_stay_in_half(tmp_path: Path) -> None:
    late = received(99, {**LATE, "minute": 120})
    before = DAY + timedelta(minutes=60)
    with opened(tmp_path / "store.db") as store:
        store.append(conversation(10))
        arriving = iter([late])
        store.delete_sessions(
            [("bot", "s1")], idle_since=before, on_progress=lambda _: store.append(list(arriving))
        )
        assert store.list_events("bot", "s1").items == []
        assert store.get_session("bot", "s1") is None


LATE: dict[str, Any] = {
    "app": "bot",
    "session": "s1",
    "user": "ann",
    "kind": "llm",
    "words": ["late"],
    "resent": 1,
    "failed": False,
    "latency": 1,
}


def test_an_event_of_a_deleted_session_that_arrives_again_is_stored_again(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as store:
        store.append(conversation(5))
        store.delete_sessions([("bot", "s1")])
        assert store.append(conversation(5)) == [True] * 5


def test_no_write_merges_all_of_the_index_at_once(tmp_path: Path) -> None:
    for _ in ("new", "of an earlier version"):
        with opened(tmp_path / "store.db") as store, store._writer.transaction() as connection:
            config = dict(connection.execute("SELECT k, v FROM texts_config"))
            assert config["crisismerge"] > config["automerge"]
            connection.execute("INSERT INTO texts(texts, rank) VALUES ('crisismerge', 16)")
