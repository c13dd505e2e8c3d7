"""An event's different words are indexed up to a limit, and what is left out is counted."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sessionbat.server.reading.folding import JOINER, different_words_end, fold
from sessionbat.server.store import query_terms
from sessionbat.server.store.sqlite import text_index
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.server.store.sqlite.texts import put, received, words_in_index


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(str(tmp_path / "store.db"))) as opened:
        yield opened


def different_words(count: int) -> str:
    return " ".join(f"w{number}" for number in range(count))


MOST_WORDS = query_terms.MAX_DIFFERENT_WORDS
AT_THE_LIMIT = {
    "words": (different_words(MOST_WORDS), "Beyond", "beyond"),
    "words again and again": (
        f"{different_words(MOST_WORDS)} " * 4 + "w1 W2 w3",
        "beyond",
        "beyond",
    ),
    "words within punctuation": (different_words(MOST_WORDS).replace(" ", ".-_"), "x", "x"),
    "Greek": (different_words(MOST_WORDS).replace("w", "ωμ"), "ψ", "ψ"),
    "with vowel signs": (different_words(MOST_WORDS).replace("w", "क्ष"), "ज्ञ", "ज्ञ"),
    "Chinese and numbers": (different_words(MOST_WORDS).replace("w", "天"), "地", "地"),
    "long words": ("".join(f"{n:038d} " for n in range(MOST_WORDS)), "beyond", "beyond"),
}


@pytest.mark.slow
@pytest.mark.parametrize("text, beyond, query", AT_THE_LIMIT.values(), ids=AT_THE_LIMIT)
def test_as_many_different_words_as_may_be_are_indexed_and_one_more_is_not(
    text: str, beyond: str, query: str, store: SqliteStore
) -> None:
    if "天" in text:
        text = text.rpartition(" ")[0]  # the character is a word, too
    put(store, received("e1", text))
    assert words_in_index(store) == MOST_WORDS + 1  # and that of its app
    assert store.measure().events_in_part == 0
    put(store, received("e2", f"{text} {beyond} afterwards"))
    assert words_in_index(store) == MOST_WORDS + 2  # "part"
    page = store.search(query)
    assert (page.items, page.searched_in_part) == ([], 1)
    assert store.measure().events_in_part == 1
    found = store.search(text.split()[-1].split(".")[-1].strip("_-"), app="bot")
    assert len(found.items) == 2
    store.delete_sessions([("bot", "s")])
    assert store.compact()
    assert words_in_index(store) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b a b c d", 2),
        ("a.b_a-b c", 2),
        ("A a B b c", 2),
        ("क क्ष कि क्षि", 3),
        ("天地天 地玄", 2),
        ("é e\u0301 f g", 2),
        ("🚗 a 🚗 🚕", 2),
        ("a\0b\0a c", 2),
        ("a b", 2),
        ("... ...", 1),
        ("", 1),
    ],
)
def test_words_are_told_apart_as_the_index_does(text: str, words: int) -> None:
    folded = fold(text)
    first = folded[: different_words_end(folded, words)]
    assert len(tokens(first)) <= words
    assert first == folded or len(tokens(folded)) > words
    assert len(tokens(f"{first} {folded[len(first) :].strip(JOINER + ' ')[:2]}")) > words or (
        first == folded
    )


def tokens(text: str) -> set[str]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE VIRTUAL TABLE t USING fts5(text, {text_index.TOKENIZER})")
        connection.execute("INSERT INTO t VALUES (?)", (text.replace("\0", " "),))
        connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, row)")
        return {word for (word,) in connection.execute("SELECT term FROM v")}


def test_that_an_event_is_searched_in_part_is_told_to_its_own_app_alone(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_terms, "MAX_DIFFERENT_WORDS", 3)
    other = received("e2", "a few words here")
    other.event["app"] = "other"
    put(store, received("e1", "one two three four"), other, received("e3", "one two"))
    assert store.search("few", app="other").searched_in_part == 1
    assert store.search("one", app="bot").searched_in_part == 1
    assert store.search("one").searched_in_part == 2
    assert store.measure().events_in_part == 2
    store.delete_sessions([("bot", "s")])
    assert store.search("few", app="other").searched_in_part == 1
    assert store.search("few").searched_in_part == 1


def test_a_text_longer_than_is_searched_counts_as_searched_in_part(store: SqliteStore) -> None:
    put(store, received("e1", "hay " * 262_143))
    assert store.measure().events_in_part == 0
    put(store, received("e2", "hay " * 262_145))
    assert store.measure().events_in_part == 1


@pytest.mark.slow
@pytest.mark.parametrize("words", [150_000, 60_000])
def test_a_step_of_indexing_for_very_many_different_words_is_short(
    words: int, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds: list[float] = []
    insert = text_index._insert

    def timed(connection: Any, texts: Any) -> None:
        started = time.thread_time()
        insert(connection, texts)
        seconds.append(time.thread_time() - started)

    monkeypatch.setattr(text_index, "_insert", timed)
    put(store, *(received(f"e{n}", different_words(words).replace("w", f"w{n}")) for n in range(4)))
    assert max(seconds) < 0.15  # 0.02 to 0.05; without a limit 0.25 to 0.4
