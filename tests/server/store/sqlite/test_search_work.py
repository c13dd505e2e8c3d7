"""Searching, indexing and taking out of the index do bounded work, whatever was stored."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sessionbat.errors import StoreError
from sessionbat.server.records import SearchHit
from sessionbat.server.store import query_terms
from sessionbat.server.store.query_terms import parse_query
from sessionbat.server.store.snippets import find_window
from sessionbat.server.store.sqlite import deletion, payloads, text_index, text_search
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.conftest import eventually
from tests.server.store.sqlite.texts import put, received, words_in_index


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(str(tmp_path / "store.db"))) as opened:
        yield opened


def cost_of_search(store: SqliteStore, query: str) -> tuple[float, list[SearchHit]]:
    started = time.thread_time()
    items = store.search(query).items
    return time.thread_time() - started, items


REPETITIVE = {
    "a word of a log": ("needle haystack " * 44_000, "needle", "needle"),
    "words of one letter": ("a b " * 170_000, "a", "a"),
    "one Chinese character": ("天" * 340_000, "天", "天"),
    "a phrase of one word": ("no " * 230_000, '"no no no"', "no no no"),
    "a beginning": ("needless " * 77_000, "need*", "needless"),
    "two words": ("needle haystack " * 44_000, "needle haystack", "needle"),
}


@pytest.mark.slow
@pytest.mark.parametrize("text, query, marked", REPETITIVE.values(), ids=REPETITIVE)
def test_a_search_for_what_an_event_repeats_is_quick(
    text: str, query: str, marked: str, store: SqliteStore
) -> None:
    put(store, received("e1", text))
    seconds, (hit,) = cost_of_search(store, query)
    assert seconds < 1
    begin, end = hit.highlights[0]
    assert hit.snippet[begin:end].startswith(marked)  # neighbours are marked together
    assert len(hit.snippet) < 500


@pytest.mark.parametrize("query", ["needle", '"sharp needle"', "nee*", "针", "needle sharp"])
def test_the_place_is_found_far_into_a_text(query: str, store: SqliteStore) -> None:
    hay = "hay straw grass " * 30_000
    put(store, received("e1", f"{hay} a sharp needle 针 of steel {hay}"))
    _, (hit,) = cost_of_search(store, query)
    assert "sharp needle" in hit.snippet
    assert hit.snippet.startswith("…")
    assert hit.snippet.endswith("…")
    assert hit.highlights


def test_words_far_from_each_other_are_shown_at_the_first(store: SqliteStore) -> None:
    put(store, received("e1", "alpha " + "filler " * 5_000 + "omega"))
    _, (hit,) = cost_of_search(store, "omega alpha")
    assert [hit.snippet[begin:end] for begin, end in hit.highlights] == ["alpha"]


def test_a_part_of_a_word_is_passed_over(store: SqliteStore) -> None:
    put(store, received("e1", "concat " * 2_000 + "a cat sat"))
    _, (hit,) = cost_of_search(store, "cat")
    assert "a cat sat" in hit.snippet


@pytest.mark.parametrize("text", ["", "nothing of it", "x" * 5_000, "é" * 5_000, "\0" * 3_000])
def test_a_window_is_found_in_any_text(text: str) -> None:
    window = find_window(text, parse_query("needle"))
    assert text.startswith(window.text)
    assert len(window.text) < 2_000


def test_a_page_of_large_events_ends_early_and_goes_on(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_search, "_MAX_READ_BYTES", 25_000)
    put(store, *(received(f"e{number}", "needle " + "hay " * 2_500) for number in range(7)))
    found, after, pages = [], None, 0
    while pages == 0 or after is not None:
        page = store.search("needle", after=after)
        found += [hit.id for hit in page.items]
        after, pages = page.next, pages + 1
    assert found == [f"e{number}" for number in range(6, -1, -1)]
    assert pages == 3


def test_a_search_is_given_up_between_two_events_too(tmp_path: Path) -> None:
    with closing(SqliteStore(str(tmp_path / "store.db"), query_timeout=0.0)) as store:
        store.append([received("e1", "needle")])
        with pytest.raises(StoreError, match="query-too-slow"):
            eventually(lambda: store.search("needle").items)


# --- The index


def test_the_first_million_characters_of_an_event_are_searched(store: SqliteStore) -> None:
    text = "first " + "hay " * 260_000 + " within " + "hay " * 5_000 + " beyond"
    put(store, received("e1", text))
    assert [len(store.search(word).items) for word in ("first", "within", "beyond")] == [1, 1, 0]


LONG = {
    "ASCII": "hay straw " * 150_000 + "beyond",
    "that grows as it is folded": "天気" * 400_000,
    "of many strings": ["hay straw"] * 120_000,
    "of messages": [{"role": "user", "content": f"{n} " + "hay " * 1000} for n in range(300)],
}


@pytest.mark.slow
@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_text_leaves_the_index_as_it_came_in(text: Any, store: SqliteStore) -> None:
    event = received("e1", None, given=text)
    event.event["observation"]["kind"] = event.event["type"] = "llm"
    put(store, event)
    assert words_in_index(store) > 2
    store.delete_sessions([("bot", "s")])
    assert store.compact()
    assert words_in_index(store) == 0


def test_one_step_of_indexing_takes_little_text(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    insert = text_index._insert

    def counted(connection: Any, texts: Any) -> None:
        sizes.append(sum(len(each.text) for each in texts))
        insert(connection, texts)

    monkeypatch.setattr(text_index, "_insert", counted)
    put(store, *(received(f"e{number}", "hay " * 50_000) for number in range(12)))
    assert max(sizes) <= query_terms.MAX_CHARACTERS // 4
    assert sum(sizes) >= 12 * 199_000


@pytest.mark.slow
@pytest.mark.parametrize("text", ["天" * 500_000, "ﷺ" * 200_000, "hay " * 500_000])
def test_text_that_grows_when_folded_is_indexed_up_to_the_limit(text: str) -> None:
    assert len(query_terms.indexed(text).text) <= query_terms.MAX_CHARACTERS


def test_one_step_of_indexing_from_disk_takes_little_text_too(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store._derived[0].recent, "add", lambda texts: None)
    test_one_step_of_indexing_takes_little_text(store, monkeypatch)


@pytest.mark.parametrize(
    ("seconds", "most"),
    [
        (0.001, text_index._MAX_CHARACTERS),
        (text_index._STEP_SECONDS, text_index._MAX_CHARACTERS),
        (4 * text_index._STEP_SECONDS, text_index._MAX_CHARACTERS // 4),
        (60.0, text_index._MIN_CHARACTERS),
    ],
)
def test_a_step_of_indexing_that_takes_long_makes_the_next_one_shorter(
    store: SqliteStore, seconds: float, most: int
) -> None:
    now = itertools.count()
    (index,) = [each for each in store._derived if isinstance(each, text_index.TextIndex)]
    index._clock = lambda: next(now) * seconds
    put(store, received("e1", "hay " * 1_000))
    assert index._most == pytest.approx(most, rel=0.01)


@pytest.mark.parametrize(
    ("texts", "searched"),
    [
        (["a " * 1_000_000], "a " * (query_terms.MAX_CHARACTERS // 2)),
        (["a " * 300_000, "b " * 300_000, "c"], "a " * 300_000 + "\n" + "b " * 224_287 + "b"),
        (["a", "b"], "a\nb"),
        (["a"] * 600_000, ("a\n" * 600_000)[: query_terms.MAX_CHARACTERS]),
        (["a " * (query_terms.MAX_CHARACTERS // 2), "b"], "a " * (query_terms.MAX_CHARACTERS // 2)),
    ],
)
def test_only_the_beginning_of_many_texts_is_searched(texts: list[str], searched: str) -> None:
    assert query_terms.text_in(texts) == searched


# --- Deleting


def steps_of_deletion(store: SqliteStore, *sessions: str) -> list[int]:
    steps: list[int] = []
    removed = store.delete_sessions([("bot", each) for each in sessions], on_progress=steps.append)
    assert removed.sessions == len(sessions)
    return steps


@pytest.mark.slow
def test_events_of_much_text_go_a_few_at_a_time(store: SqliteStore) -> None:
    put(store, *(received(f"e{number}", "hay " * 50_000) for number in range(12)))
    assert max(steps_of_deletion(store, "s")) <= 3


def test_events_of_much_text_in_many_sessions_go_a_few_at_a_time(store: SqliteStore) -> None:
    events = (received(f"e{n}", "hay " * 50_000, session=f"s{n}") for n in range(12))
    put(store, *events)
    assert max(steps_of_deletion(store, *(f"s{n}" for n in range(12)))) <= 4


def test_an_event_of_very_many_messages_goes_in_steps(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payloads, "MAX_MESSAGES", 10**6)  # as earlier versions stored them
    monkeypatch.setattr(deletion, "STEP_MESSAGES", 1_000)
    messages = [{"role": "user", "content": f"message number {n}"} for n in range(7_500)]
    event = received("e1", "answer", given={"messages": messages})
    event.event["observation"]["kind"] = event.event["type"] = "llm"
    put(store, received("e0", "earlier"), event)
    assert len(steps_of_deletion(store, "s")) >= 7
    connection: Any = store._writer.connection
    for table in ("messages", "events", "payloads", "sessions", "interactions"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_a_step_of_deletion_begins_one_segment_of_the_index(store: SqliteStore) -> None:
    put(store, *(received(f"e{number}", f"word{number}") for number in range(200)))
    connection: Any = store._writer.connection
    count = "SELECT count(DISTINCT segid) FROM texts_idx"
    (before,) = connection.execute(count).fetchone()
    steps = steps_of_deletion(store, "s")
    (after,) = connection.execute(count).fetchone()
    assert after - before <= len(steps)


MANY_WORDS = {
    "a phrase": '"' + "needle haystack " * 100 + '"',
    "one word of many parts": "needle.haystack." * 100,
    "many phrases": '"needle haystack needle haystack" ' * 31,
    "Chinese": "天地" * 200,
}


@pytest.mark.slow
@pytest.mark.parametrize("query", MANY_WORDS.values(), ids=MANY_WORDS)
def test_a_search_for_very_many_words_looks_at_the_first(query: str, store: SqliteStore) -> None:
    put(store, *(received(f"e{n}", f"{query} " * (400_000 // len(query))) for n in range(3)))
    seconds, hits = cost_of_search(store, query)
    assert len(hits) == 3
    assert seconds < 5  # of 200 words in 12 larger events a minute


def test_the_last_word_that_is_looked_at_is_whole() -> None:
    words = " ".join(f"w{n}" for n in range(query_terms.MAX_WORDS + 1))
    (term,) = query_terms.parse_query(f'"{words}"')
    assert term.words.split()[-1] == f"w{query_terms.MAX_WORDS - 1}"
    assert query_terms.parse_query("nee*")[0].is_prefix
