"""The store's file goes, fills its disk, may not be written to or breaks, while the server runs."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from sessionbat.errors import StoreError
from sessionbat.server.records import ReceivedEvent, StoreHealth
from sessionbat.server.store.sqlite import health as health_module
from sessionbat.server.store.sqlite.health import Health
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.conftest import eventually
from tests.server.wire import Wire, event

Start = Callable[..., Wire]


def delete(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_suffix(".old"))


def replace(path: Path) -> None:
    move(path)
    path.write_bytes(path.with_suffix(".old").read_bytes())


def move_its_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def delete_the_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


GOES = (delete, move, replace, move_its_directory, delete_the_log)


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.ERROR) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= level]


def metric(server: Wire, name: str) -> str | None:
    for line in server.get("/metrics").body.decode().splitlines():
        if line.startswith(f"{name} "):
            return line.rpartition(" ")[2]
    return None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "store.db"


@pytest.fixture
def running(path: Path, start_server: Start) -> Wire:
    server = start_server(store_url=f"sqlite:///{path}")
    assert server.send(event("e1")).status == 202
    return server


@pytest.mark.parametrize("go", GOES)
def test_once_the_file_is_gone_no_event_is_acknowledged(
    go: Callable[[Path], None], path: Path, running: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    go(path)
    answers = [running.send(event(f"e{number}")) for number in range(2, 8)]
    assert [(each.status, each.slug) for each in answers] == [(503, "store-gone")] * 6
    assert int(answers[0].headers["retry-after"]) >= 1
    assert "accept-post" in answers[-1].headers
    assert len(lines(caplog)) == 1
    assert lines(caplog)[0].endswith("[store-gone]")


@pytest.mark.parametrize("go", GOES)
def test_a_missing_file_is_noticed_without_any_request(
    go: Callable[[Path], None], path: Path, running: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    eventually(lambda: metric(running, "sessionbat_follower_lag_events") == "0")
    go(path)
    eventually(lambda: lines(caplog))
    assert metric(running, "sessionbat_store_up") == "0"
    assert metric(running, 'sessionbat_store_state{state="gone"}') == "1"
    assert metric(running, 'sessionbat_store_state{state="well"}') == "0"
    assert metric(running, "sessionbat_store_events") is None


@pytest.mark.parametrize("address", ["/sessions", "/session?app=support-bot&id=thread_1"])
def test_pages_say_that_the_file_is_gone(address: str, path: Path, running: Wire) -> None:
    delete(path)
    answer = running.get(address) if "?" not in address else running.request("GET", address)
    assert answer.status == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert b'role="alert">The store&#39;s file was moved' in answer.body
    assert str(path).encode() not in answer.body


def test_the_read_api_says_that_the_file_is_gone(path: Path, running: Wire) -> None:
    delete(path)
    answer = running.get("/api/v1/sessions")
    assert (answer.status, answer.slug) == (503, "store-gone")
    assert "retry-after" in answer.headers


def test_the_form_for_logging_in_is_still_shown(
    path: Path, running: Wire, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(SqliteStore(str(path))) as store:
        from sessionbat.server.access.keys import new_key

        store.add_key(new_key("read", None, "")[1])
    delete(path)
    eventually(lambda: lines(caplog))
    answer = running.get("/login")
    assert answer.status == 200
    assert b'role="alert"' in answer.body


def test_a_file_that_is_moved_back_is_used_again(
    path: Path, running: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    move(path)
    assert running.send(event("e2")).status == 503
    path.with_suffix(".old").rename(path)
    eventually(lambda: running.send(event("e3")).status == 202)
    assert {each["id"] for each in running.stored()} == {"e1", "e3"}
    told = lines(caplog, logging.WARNING)
    assert [line.rpartition("[")[2] for line in told] == ["store-gone]", "store-well]"]
    assert b'role="alert"' not in running.get("/sessions").body


# --- A disk of its own


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of 8 MB; only root may have one."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def test_a_full_disk_is_told_once_and_events_are_taken_again_when_there_is_room(
    disk: Path, start_server: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(store_url=f"sqlite:///{disk / 'store.db'}")
    assert server.send(event("e1")).status == 202
    filler = fill(disk)
    answers = [server.send(event(f"e{number}")) for number in range(2, 22)]
    assert {(each.status, each.slug) for each in answers} == {(503, "store-full")}
    assert metric(server, "sessionbat_store_up") == "0"
    assert [each["id"] for each in server.stored()] == ["e1"]  # what is there can be read
    page = server.get("/sessions")
    assert page.status == 200
    assert b'role="alert">The store&#39;s disk is full' in page.body
    filler.unlink()
    eventually(lambda: server.send(event("e2")).status == 202)
    told = lines(caplog, logging.WARNING)
    assert [line.rpartition("[")[2] for line in told] == ["store-full]", "store-well]"]


def received(number: int) -> ReceivedEvent:
    import json

    words = [os.urandom(5).hex() for _ in range(60)]
    given = event(f"e{number}", session_id=f"s{number // 20}", observation__input=" ".join(words))
    return ReceivedEvent(json.dumps(given).encode(), given, 1_763_830_800_000_000 + number)


def fill_by_events(store: SqliteStore) -> int:
    number = 0
    with pytest.raises(StoreError, match="store-full"):
        while True:
            store.append([received(number + each) for each in range(20)])
            number += 20
    return number


@pytest.mark.slow
def test_deleting_makes_room_on_a_disk_that_events_have_filled(disk: Path) -> None:
    with closing(SqliteStore(str(disk / "store.db"))) as store:
        count = fill_by_events(store)
        sessions = [("support-bot", f"s{number}") for number in range(count // 20)]
        assert store.delete_sessions(sessions[1:]).sessions == len(sessions) - 1
        store.compact()
        store.look()
        assert store.health().is_well
        store.append([received(count)])
        assert store.count_events() == 21


@pytest.mark.slow
def test_another_process_can_delete_there(disk: Path) -> None:
    path = disk / "store.db"
    with closing(SqliteStore(str(path))) as store:
        fill_by_events(store)
        with closing(SqliteStore(str(path))) as other:
            assert other.delete_sessions([("support-bot", "s0")]).events == 20


def test_events_not_indexed_for_lack_of_room_are_indexed_later(disk: Path) -> None:
    with closing(SqliteStore(str(disk / "store.db"))) as store:
        store.append([received(0)])
        filler = fill(disk)
        with pytest.raises(StoreError, match="store-full"):
            store.append([received(1)])
        filler.unlink()
        store.append([received(2)])
        eventually(lambda: store.measure().events_behind == 0)


# --- Other troubles


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(str(path))) as opened:
        yield opened


@pytest.mark.parametrize("step", ["append", "follow", "delete"])
def test_a_transaction_looks_at_the_disk_once(
    step: str, store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._follower.close()
    store.append([received(0)])
    looks: list[Path] = []
    look = health_module._room
    monkeypatch.setattr(health_module, "_room", lambda path: looks.append(path) or look(path))  # type: ignore[func-returns-value]
    if step == "append":
        store.append([received(1)])
    elif step == "follow":
        store._follow()
    else:
        store._deletion.step([("support-bot", "s0")], None, has_begun=False)
    own = [each for each in looks if each.parent == path.parent or each == path]  # of this store
    assert len(own) == 1


def told(store: SqliteStore) -> list[StoreHealth]:
    changes: list[StoreHealth] = []
    store.tell_health(changes.append)
    return changes


def test_a_file_that_may_not_be_written_is_tried_until_it_may(store: SqliteStore) -> None:
    changes = told(store)
    writer: Any = store._writer.connection
    writer.execute("PRAGMA query_only = ON")
    for _ in range(3):
        with pytest.raises(StoreError, match="store-read-only"):
            store.append([received(1)])
    store.look()
    writer.execute("PRAGMA query_only = OFF")
    store.look()
    assert [each.state for each in changes] == ["read-only", "well"]


def test_a_damaged_file_takes_no_more_events(path: Path, store: SqliteStore) -> None:
    store.append([received(1)])
    store.compact()  # nothing is left in the log
    changes = told(store)
    with path.open("r+b") as file:
        file.write(os.urandom(4096))
    store.look()
    assert [each.state for each in changes] == ["damaged"]
    with pytest.raises(StoreError, match="store-damaged"):
        store.append([received(2)])


def test_an_unreadable_page_is_noticed_by_the_query_that_reads_it(
    path: Path, store: SqliteStore
) -> None:
    store.append([received(number) for number in range(400)])
    eventually(lambda: store.measure().events_behind == 0)
    store.compact()
    with path.open("r+b") as file:
        for place in range(8, path.stat().st_size // 4096):
            file.seek(place * 4096)
            file.write(os.urandom(4096))
    changes = told(store)
    with pytest.raises(StoreError, match="store-damaged"):
        for number in range(20):
            store.list_events("support-bot", f"s{number}")
    assert [each.state for each in changes] == ["damaged"]


def test_an_emptied_file_takes_no_more_events(path: Path, store: SqliteStore) -> None:
    store.append([received(1)])
    store.compact()
    os.truncate(path, 0)
    store.look()
    assert not store.health().is_well


def test_a_transaction_that_does_not_end_makes_the_store_slow(path: Path) -> None:
    path.write_bytes(bytes(4096))
    now = [0.0]
    health = Health(path, clock=lambda: now[0])
    health.begin_writing()
    now[0] = health_module.SLOW + 1
    health.look()
    assert health.now.state == "slow"
    health.end_writing()
    health.look()
    assert health.now.is_well


def test_a_mistake_in_one_question_is_not_of_the_store(store: SqliteStore) -> None:
    with pytest.raises(StoreError, match="store-failed"), store._readers.lend() as reader:
        reader.connection.execute("SELECT nonsense")
    assert store.health().is_well


def test_a_lock_of_another_process_is_not_of_the_store(path: Path, store: SqliteStore) -> None:
    writer: Any = store._writer.connection
    writer.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="store-failed"):
            store.append([received(1)])
    assert store.health().is_well
    assert store.append([received(1)]) == [True]


def test_a_look_costs_little(store: SqliteStore) -> None:
    store.look()
    started = time.thread_time()
    for _ in range(100):
        store.look()
    assert time.thread_time() - started < 0.5
