"""Files of every schema that ever landed: opened, backed up first, and brought to the newest one.

``stores/schema-N.db.gz`` was written by the version that had schema N.
"""

from __future__ import annotations

import gzip
import json
import logging
import random
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sessionbat.errors import StoreError
from sessionbat.server.reading.folding import FOLDING
from sessionbat.server.records import ReceivedEvent, Statistic
from sessionbat.server.store.opening import Store, open_store
from sessionbat.server.store.query_terms import MAX_CHARACTERS, MAX_DIFFERENT_WORDS
from sessionbat.server.store.sqlite import schema
from sessionbat.server.store.sqlite.schema import MIGRATIONS
from tests.conftest import eventually

STORES = Path(__file__).parent / "stores"


def old_file(directory: Path, schema: int = 1) -> Path:
    path = directory / "old.db"
    path.write_bytes(gzip.decompress((STORES / f"schema-{schema}.db.gz").read_bytes()))
    path.chmod(0o640)
    return path


def upgraded(directory: Path) -> Store:
    return open_store(f"sqlite:///{old_file(directory)}")


def version(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


@pytest.mark.parametrize("schema", range(1, len(MIGRATIONS)))
def test_a_file_of_each_earlier_schema_is_opened_with_all_its_events(
    tmp_path: Path, schema: int
) -> None:
    path = old_file(tmp_path, schema)
    before = sqlite3.connect(path).execute("SELECT count(*) FROM events").fetchone()[0]
    store = open_store(f"sqlite:///{path}")
    count = store.count_events()
    store.close()
    assert (count, version(path)) == (before, len(MIGRATIONS))


def test_an_upgraded_file_has_the_new_figures_of_its_old_events(tmp_path: Path) -> None:
    store = upgraded(tmp_path)
    found = {each.session_id: each for each in store.list_sessions().items}
    store.close()
    assert {name: each.title for name, each in found.items()} == {
        "s1": "I am locked out",
        "s2": "Grüße aus 東京",
    }
    assert (found["s1"].cost_usd, found["s1"].errors, found["s1"].interactions) == (0.0021, 1, 1)


def test_an_upgraded_file_still_knows_which_events_it_has(tmp_path: Path) -> None:
    store = upgraded(tmp_path)
    events = store.list_events("support-bot", "s1").items
    assert [event.id for event in events] == ["e0", "e1", "e2"]
    assert events[1].event["observation"]["output"] == {"text": "Use the reset link."}
    store.close()


def test_a_file_of_schema_2_still_has_its_resent_messages_byte_for_byte(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{old_file(tmp_path, 2)}")
    events = store.list_events("support-bot", "s1").items
    store.close()
    assert [len(each.event["observation"]["input"].get("messages", ())) for each in events] == [
        *(0, 4, 5)
    ]
    assert events[2].event["observation"]["input"]["messages"][4]["content"] == "Yes, grün 東京"


def test_a_file_of_schema_2_counts_and_finds_as_before(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{old_file(tmp_path, 2)}")
    day = datetime(2025, 11, 22, tzinfo=UTC)

    def all_of_it() -> tuple[list[Statistic], list[str]] | None:
        # Its events say that they are of a year after they were received.
        counted = store.statistics(by="day", since=day, until=day + timedelta(days=1))
        found = [hit.id for word in ("reset", "grün") for hit in store.search(word).items]
        is_all = counted and counted[0].count == 4 and len(found) == 2
        return (counted, found) if is_all else None

    counted, found = eventually(all_of_it)
    store.close()
    assert [(each.count, each.errors, each.input_tokens) for each in counted] == [(4, 1, 142)]
    assert counted[0].latency_ms_p50 == pytest.approx(820, rel=0.05)
    assert found == ["e1", "e2"]  # each by a message that the other does not have, or had first


def test_a_file_of_schema_5_counts_feedback_apart_from_observations(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{old_file(tmp_path, 5)}")
    found = store.get_session("support-bot", "s1")
    assert found is not None
    assert (found.observations, found.feedback, found.llm_calls) == (3, 1, 2)
    assert [each.id for each in store.list_feedback("support-bot", "s1")] == ["f1"]
    day = datetime(2025, 11, 22, tzinfo=UTC)
    assert eventually(lambda: not store.measure().events_behind)
    counted = store.statistics(by="day", since=day, until=day + timedelta(days=366))
    store.close()
    assert sum(each.count for each in counted) == 5  # and the feedback was counted, too


def test_a_file_of_schema_7_has_estimates_of_later_events_and_after_a_rebuild_of_all(
    tmp_path: Path,
) -> None:
    store = open_store(f"sqlite:///{old_file(tmp_path, 7)}")

    def costs() -> list[tuple[float, float]]:
        found = {each.session_id: each for each in store.list_sessions().items}
        return [(found[name].cost_usd, found[name].cost_estimated) for name in ("s1", "s2")]

    assert costs() == [(0.0021, 0.0), (0.0, 0.0)]
    first = store.list_events("support-bot", "s1").items[0]
    later = {**first.event, "id": "later"}
    store.append([ReceivedEvent(json.dumps(later).encode(), later, 0)])
    assert costs() == [(0.0021, 0.0002685), (0.0, 0.0)]
    store.rebuild()
    assert costs() == [(0.0021, 0.000537), (0.0, 0.0)]
    store.close()


def test_a_file_of_schema_4_takes_an_id_once_a_session_and_numbers_go_on(tmp_path: Path) -> None:
    path = old_file(tmp_path, 4)
    store = open_store(f"sqlite:///{path}")
    old = [item for page in ("s1", "s2") for item in store.list_events("support-bot", page).items]
    again = [ReceivedEvent(each.raw, each.event, 0) for each in old]
    elsewhere = [
        ReceivedEvent(b"{}", {**each.event, "session_id": f"new of {each.event['session_id']}"}, 0)
        for each in old
    ]
    assert store.append([*again, *elsewhere]) == [False] * 4 + [True] * 4
    assert [each.id for each in old] == ["0198aa00000070008000000000000000", "e1", "e2", "e3"]
    assert store.find_event("other", "s1", "e1") is not None
    store.close()
    # The last of the old file was deleted: what follows it must not be taken for indexed already.
    (least,) = sqlite3.connect(path).execute("SELECT min(id) FROM events WHERE id > 5").fetchone()
    assert least == 7


def test_in_a_file_of_schema_4_no_session_is_active_after_it_was_received(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{old_file(tmp_path, 4)}")
    (latest, *_) = store.list_sessions().items
    assert (latest.session_id, latest.last_at) == ("s2", "2026-11-22T18:00:00.000003Z")
    assert latest.first_at == latest.last_at
    assert found(store, "slow") == ["e3"]
    day = datetime(2026, 11, 22, tzinfo=UTC)
    (counted,) = store.statistics(by="day", since=day, until=day + timedelta(days=1))
    assert (counted.count, counted.errors) == (5, 1)
    before = store.measure_apps()
    assert all(each.bytes > 0 for each in before)
    store.delete_sessions([("support-bot", "s1"), ("support-bot", "s2"), ("other", "s1")])
    store.append([ReceivedEvent(b"{}", {**EVENT, "app": app}, 0) for app in ("support-bot",)])
    assert [(each.app, each.bytes) for each in store.measure_apps()] == [("support-bot", 2)]
    store.close()


EVENT = {"type": "llm", "id": "x", "session_id": "x", "observation": {"kind": "llm"}}


def found(store: Store, query: str) -> list[str]:
    """Search until something is found; the index is made again behind ingestion."""
    return [hit.id for hit in eventually(lambda: store.search(query).items)]


def test_the_text_index_of_schema_4_is_made_again_by_the_new_folding(tmp_path: Path) -> None:
    path = old_file(tmp_path, 4)
    store = open_store(f"sqlite:///{path}")
    assert found(store, "ガイド") == ["e2"]
    assert store.delete_sessions([("support-bot", "s1")]).events == 3
    assert store.search("ガイド").items == []
    store.close()


@pytest.mark.parametrize(
    "rules",
    [
        "",
        "1/9.0.0",
        FOLDING,  # before there was a limit of different words
        f"{FOLDING}/{MAX_CHARACTERS}/{MAX_DIFFERENT_WORDS + 1}",
        f"{FOLDING}/{MAX_CHARACTERS - 1}/{MAX_DIFFERENT_WORDS}",
    ],
)
def test_an_index_of_other_rules_is_made_again(rules: str, tmp_path: Path) -> None:
    path = old_file(tmp_path, 4)
    store = open_store(f"sqlite:///{path}")
    assert found(store, "slow") == ["e3"]
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE progress SET made_by = ? WHERE name = 'text'", (rules,))
        connection.execute("INSERT INTO texts(texts) VALUES ('delete-all')")
    connection.close()
    store = open_store(f"sqlite:///{path}")
    assert found(store, "slow") == ["e3"]
    store.close()


def test_the_file_as_it_was_is_kept_beside_it_and_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "sessionbat.server"):
        upgraded(tmp_path).close()
    backup = tmp_path / "old.db.schema-1.backup"
    assert version(backup) == 1
    assert backup.stat().st_mode & 0o777 == (tmp_path / "old.db").stat().st_mode & 0o777 == 0o640
    assert sqlite3.connect(backup).execute("SELECT count(*) FROM payloads").fetchone() == (4,)
    assert str(backup) in caplog.text


def test_what_the_old_version_had_not_yet_checkpointed_is_in_the_backup(tmp_path: Path) -> None:
    path = old_file(tmp_path)
    with sqlite3.connect(path) as connection:  # stays open: its rows stay in the WAL
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO apps (name) VALUES ('late')")
        connection.commit()
        open_store(f"sqlite:///{path}").close()
    backup = sqlite3.connect(tmp_path / "old.db.schema-1.backup")
    assert backup.execute("SELECT name FROM apps WHERE name = 'late'").fetchone() == ("late",)


def test_a_file_of_the_newest_schema_is_not_backed_up(tmp_path: Path) -> None:
    upgraded(tmp_path).close()
    (tmp_path / "old.db.schema-1.backup").unlink()
    open_store(f"sqlite:///{tmp_path / 'old.db'}").close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.db"]


def test_a_new_file_is_not_backed_up(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path / 'new.db'}").close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["new.db"]


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (*MIGRATIONS, "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);")
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    path = old_file(tmp_path)
    with pytest.raises(StoreError, match=r"\[store-unusable\]"):
        open_store(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert (version(path), "half" in tables, "labels" in tables) == (1, False, False)


def test_without_room_for_the_backup_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = old_file(tmp_path)
    (tmp_path / "old.db.schema-1.backup.part").mkdir()  # in the way, as a full disk would be
    with pytest.raises(StoreError, match=r"\[store-unusable\]"):
        open_store(f"sqlite:///{path}")
    assert version(path) == 1


KILLED = """
import os, signal, sqlite3, sys
from sessionbat.server.store.opening import open_store

path, last = sys.argv[1], int(sys.argv[2])
connect, seen = sqlite3.connect, 0

def count(statement):
    global seen
    seen += 1
    if seen == last:
        os.kill(os.getpid(), signal.SIGKILL)

def traced(*arguments, **options):
    connection = connect(*arguments, **options)
    connection.set_trace_callback(count)
    return connection

sqlite3.connect = traced
open_store("sqlite:///" + path).close()
print(seen)
"""


def opened_until(path: Path, statement: int) -> subprocess.CompletedProcess[str]:
    """Open a file in a process that kills itself before one of its statements."""
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(statement)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("schema", range(1, len(MIGRATIONS)))
def test_a_process_killed_anywhere_in_an_upgrade_costs_no_event(
    tmp_path: Path, schema: int
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    path = old_file(whole, schema)
    before = sqlite3.connect(path).execute("SELECT count(*) FROM events").fetchone()[0]
    statements = int(opened_until(path, 0).stdout)
    assert statements > 20
    killed = 0
    for number in random.Random(schema).sample(range(1, statements), 12):
        directory = tmp_path / f"killed-{number}"
        directory.mkdir()
        path = old_file(directory, schema)
        killed += opened_until(path, number).returncode == -signal.SIGKILL
        store = open_store(f"sqlite:///{path}")
        assert store.count_events() == before
        store.close()
        assert version(path) == len(MIGRATIONS)
        for backup in directory.glob("*.backup"):
            connection = sqlite3.connect(backup)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert connection.execute("SELECT count(*) FROM events").fetchone() == (before,)
    assert killed >= 8, "statements of the following thread come at another time each"
