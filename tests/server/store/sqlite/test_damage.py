"""A store with damaged pages: what is said of it, what is saved, and what is not overwritten."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sessionbat.cli import run
from sessionbat.server.records import ReceivedEvent, StoredKey
from sessionbat.server.store.opening import open_store
from tests.server.wire import event

#: Each makes a store of 2,000 events, or searches for seconds: run by CI.
pytestmark = pytest.mark.slow

EVENTS = 2000
PAGE = 8192


def made(number: int) -> dict[str, Any]:
    return event(
        f"e{number}",
        session_id=f"s{number // 50}",
        observation__input=random.Random(number).randbytes(300).hex(),
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work beside a store of 2,000 events, as ``sessionbat.db``."""
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///sessionbat.db")
    events = [made(number) for number in range(EVENTS)]
    store.append([ReceivedEvent(json.dumps(each).encode(), each, 7) for each in events])
    store.rebuild()
    store.add_key(StoredKey("k1", "ingest", "a", "name", b"digest", "2026-01-01T00:00:00Z", None))
    store.close()
    return tmp_path / "sessionbat.db"


def damage(path: Path, of: str, place: float = 0.5) -> None:
    """Overwrite a page of a table, chosen by what lies on it."""
    with sqlite3.connect(path) as connection:
        try:
            pages = [
                number
                for (number,) in connection.execute(
                    "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'"
                    " ORDER BY pageno",
                    (of,),
                )
            ]
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")
    connection.close()
    data = bytearray(path.read_bytes())
    start = (pages[int(len(pages) * place)] - 1) * PAGE
    data[start : start + PAGE] = os.urandom(PAGE)
    path.write_bytes(data)


def exported(path: str, capfd: Any) -> list[str]:
    capfd.readouterr()
    run(["export", "--store", f"sqlite:///{path}"])
    return [json.loads(line)["id"] for line in capfd.readouterr().out.splitlines()]


def test_a_store_that_is_well_says_so(here: Path, capfd: Any) -> None:
    assert run(["store", "check"]) == 0
    said = capfd.readouterr().out
    assert "BAD" not in said
    assert "2,000 can be read" in said


@pytest.mark.parametrize("table", ["payloads", "events", "sessions", "rollups", "texts_data"])
def test_a_damaged_page_is_found(here: Path, table: str, capfd: Any) -> None:
    damage(here, table)
    assert run(["store", "check"]) == 1
    assert "BAD" in capfd.readouterr().out


def test_wrong_derived_data_is_found(here: Path, capfd: Any) -> None:
    with sqlite3.connect(here) as connection:
        connection.execute("UPDATE sessions SET observations = observations + 1")
    connection.close()
    assert run(["store", "check"]) == 1
    assert "2,040 instead of 2,000" in capfd.readouterr().out
    assert run(["rebuild"]) == 0
    assert run(["store", "check"]) == 0


@pytest.mark.parametrize("table", ["payloads", "events", "rollups"])
def test_a_backup_of_a_damaged_store_overwrites_nothing(here: Path, table: str, capfd: Any) -> None:
    assert run(["backup", "copy.db"]) == 0
    good = Path("copy.db").read_bytes()
    damage(here, table)
    assert run(["backup", "copy.db", "--force"]) == 2
    assert "[damaged-store]" in capfd.readouterr().err
    assert Path("copy.db").read_bytes() == good
    assert run(["restore", "copy.db"]) == 0
    assert run(["store", "check"]) == 0


@pytest.mark.parametrize("place", [0.0, 0.5, 0.99])
def test_an_export_goes_on_behind_what_cannot_be_read(here: Path, place: float, capfd: Any) -> None:
    damage(here, "payloads", place)
    capfd.readouterr()
    assert run(["export"]) == 1
    said = capfd.readouterr()
    assert 1900 < len(said.out.splitlines()) < EVENTS
    assert "could not be read" in said.err


@pytest.mark.parametrize("table", ["rollups", "texts_data", "labels", "session_labels"])
def test_damaged_derived_data_is_rebuilt(here: Path, table: str, capfd: Any) -> None:
    damage(here, table)
    assert run(["rebuild"]) == 0
    assert run(["store", "check"]) == 0
    assert len(exported("sessionbat.db", capfd)) == EVENTS
    assert [key.id for key in keys_of("sessionbat.db")] == ["k1"]


def test_a_rebuild_never_drops_events_that_cannot_be_read(here: Path, capfd: Any) -> None:
    damage(here, "payloads")
    number = here.stat().st_ino
    assert run(["rebuild"]) == 2
    assert "sessionbat store salvage" in capfd.readouterr().err
    assert here.stat().st_ino == number
    assert [path.name for path in here.parent.glob("*rebuilding*")] == []
    assert len(exported("sessionbat.db", capfd)) > 1900


@pytest.mark.parametrize(
    "table", ["payloads", "events", "sessions", "messages_by_digest", "texts_data"]
)
def test_all_that_can_be_read_is_salvaged(here: Path, table: str, capfd: Any) -> None:
    with sqlite3.connect(here) as connection:
        there = connection.execute("SELECT 1 FROM dbstat WHERE name = ?", (table,)).fetchone()
    connection.close()
    if there is None:
        pytest.skip("the table has no pages")
    damage(here, table)
    code = run(["store", "salvage", "saved.db"])
    assert code == (table in ("payloads",))
    ids = exported("saved.db", capfd)
    assert len(ids) > (1900 if table == "payloads" else 1999)
    assert ids == sorted(ids, key=lambda name: int(name[1:]))
    assert run(["store", "check", "--store", "sqlite:///saved.db"]) == 0
    assert [key.id for key in keys_of("saved.db")] == ["k1"]


def test_salvaging_an_intact_store_copies_everything(here: Path, capfd: Any) -> None:
    before = exported("sessionbat.db", capfd)
    assert run(["store", "salvage", "saved.db"]) == 0
    assert "2,000 events, 1 keys" in capfd.readouterr().out
    assert exported("saved.db", capfd) == before


def test_several_damaged_pages_and_the_last_one(here: Path, capfd: Any) -> None:
    for place in (0.1, 0.11, 0.3, 0.999):
        damage(here, "payloads", place)
    assert run(["store", "salvage", "saved.db"]) == 1
    assert 1700 < len(exported("saved.db", capfd)) < EVENTS


def test_salvaging_an_unreadable_store_says_so_and_creates_nothing(here: Path, capfd: Any) -> None:
    data = bytearray(here.read_bytes())
    data[100:PAGE] = bytes(PAGE - 100)
    here.write_bytes(data)
    assert run(["store", "salvage", "saved.db"]) == 2
    assert "[not-salvageable]" in capfd.readouterr().err
    assert not Path("saved.db").exists()


def test_a_file_that_is_there_is_not_overwritten(here: Path, capfd: Any) -> None:
    Path("saved.db").write_text("mine")
    assert run(["store", "salvage", "saved.db"]) == 2
    assert Path("saved.db").read_text() == "mine"


def keys_of(path: str) -> list[StoredKey]:
    store = open_store(f"sqlite:///{path}")
    try:
        return store.list_keys()
    finally:
        store.close()
