"""Texts are read from the disk before the lock is taken, and what is deleted then is left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sessionbat.errors import StoreError
from sessionbat.server.store.sqlite import text_index
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.server.store.sqlite.texts import put, received, words_in_index


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(str(tmp_path / "store.db"))) as opened:
        yield opened


def test_texts_are_read_from_the_disk_before_the_lock_is_taken(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_while_locked: list[bool] = []
    searched_text = text_index.searched_text

    def watched(*arguments: Any) -> Any:
        read_while_locked.append(store._writer.lock._is_held)
        return searched_text(*arguments)

    monkeypatch.setattr(text_index, "searched_text", watched)
    monkeypatch.setattr(store._derived[0].recent, "add", lambda texts: None)
    put(store, *(received(f"e{number}", f"word{number}") for number in range(3)))
    assert len(store.search("word2").items) == 1
    assert read_while_locked == [False] * 3


def test_so_are_those_that_a_deletion_takes_out(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, *(received(f"e{n}", f"word{n}", session=f"s{n % 3}") for n in range(30)))
    monkeypatch.setattr(text_index.TextIndex, "_removed_text", only_what_was_read)
    assert store.delete_sessions([("bot", f"s{n}") for n in range(3)]).events == 30
    monkeypatch.undo()
    assert store.compact()
    assert words_in_index(store) == 0


def only_what_was_read(index: text_index.TextIndex, _connection: Any, event: Any) -> Any:
    return text_index.IndexedText(event.id, event.app, *index._weighed.pop(event.id))


def test_what_could_not_be_read_before_is_read_under_the_lock(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, *(received(f"e{n}", f"word{n}", session=f"s{n % 3}") for n in range(9)))

    def fails(*_: Any) -> int:
        raise StoreError("the question took longer than 5 s", slug="query-too-slow")

    monkeypatch.setattr(text_index.TextIndex, "weigh", fails)
    assert store.delete_sessions([("bot", f"s{n}") for n in range(3)]).events == 9
    assert store.compact()
    assert words_in_index(store) == 0


def test_an_event_that_is_deleted_after_it_was_read_is_not_indexed(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._follower.close()
    monkeypatch.setattr(store._derived[0].recent, "add", lambda texts: None)
    store.append([received(f"e{n}", f"word{n}", session=f"s{n}") for n in range(3)])
    (index,) = [each for each in store._derived if isinstance(each, text_index.TextIndex)]
    store._follow()  # learns what it lacks
    index.read_ahead(store._readers, 100)
    store.delete_sessions([("bot", "s1")])
    while not store._follow():
        pass
    assert words_in_index(store) == 3  # two, and that of their app
    assert [len(store.search(f"word{n}").items) for n in range(3)] == [1, 0, 1]
