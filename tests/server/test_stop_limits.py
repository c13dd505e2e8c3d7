"""A request that outlives the time limits of a stop is answered 503 `stopping` in its route's form.

The limits are shortened here; the store is held up until the first answer is there.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sessionbat.server import serving
from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.conftest import eventually
from tests.server.test_durability import stored_ids
from tests.server.test_stopping import begin_request
from tests.server.wire import Answer, Wire, event, ndjson

#: More than are answered at once, so that one of them waits for its turn.
MANY = 5


class Held:
    """Holds up calls of a store, and counts those that have begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.released = threading.Event()

    def hold(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def held(*arguments: Any, **named: Any) -> Any:
            self.begun += 1
            assert self.released.wait(20)
            return method(*arguments, **named)

        return held


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    monkeypatch.setattr(serving, "_STOP_TIMEOUT", 0.2)
    monkeypatch.setattr(serving, "_CLOSE_TIMEOUT", 1)
    held = Held()
    yield held
    held.released.set()


def answers_of_a_stop(
    directory: Path, held: Held, ask: Callable[[Wire], Answer], count: int, begun: int
) -> list[Answer]:
    """Stop a server while so many requests have begun; give their answers, the earliest first."""
    answers: list[Answer] = []

    def ask_and_note(wire: Wire) -> None:
        answer = ask(wire)
        answers.append(answer)
        held.released.set()

    with ThreadPoolExecutor(count) as clients:
        with running(Settings(port=0, store_url=f"sqlite:///{directory / 'store.db'}")) as url:
            asked: list[Future[None]] = [
                clients.submit(ask_and_note, Wire(url)) for _ in range(count)
            ]
            eventually(lambda: held.begun == begun)
        for each in asked:
            each.result(20)
    return answers


INGESTION = {
    "an event": lambda wire: wire.send(event("e1", interaction_id="i1")),
    "lines": lambda wire: wire.send_lines(
        event("e1", interaction_id="i1"), event("e2", interaction_id="i2")
    ),
    "compressed": lambda wire: wire.send(
        gzip.compress(ndjson(event("e1", interaction_id="i1"))), "application/x-ndjson", "gzip"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("send", INGESTION.values(), ids=INGESTION)
def test_ingestion_that_outlives_a_stop_is_told_to_send_again(
    send: Callable[[Wire], Answer],
    tmp_path: Path,
    held: Held,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(SqliteStore, "append", held.hold(SqliteStore.append))
    (answer,) = answers_of_a_stop(tmp_path, held, send, count=1, begun=1)
    assert (answer.status, answer.slug) == (503, "stopping")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["accept-encoding"] == "zstd, gzip"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "Traceback" not in caplog.text
    assert "e1" in stored_ids(tmp_path / "store.db")  # sent again, it is a duplicate


@pytest.mark.slow
def test_a_body_that_outlives_a_stop_is_told_so_too(tmp_path: Path, held: Held) -> None:
    with running(Settings(port=0, store_url=f"sqlite:///{tmp_path / 'store.db'}")) as url:
        port = int(url.rpartition(":")[2])
        connection = begin_request(port, json.dumps(event("e1", interaction_id="i1")).encode())
        Wire(url).get("/healthz")  # the one before it has been taken
    with connection:
        answer = connection.makefile("rb").read()
    assert b" 503 " in answer.partition(b"\r\n")[0]
    assert b'"stopping"' in answer
    assert stored_ids(tmp_path / "store.db") == []


QUESTIONS = {
    "sessions": lambda wire: wire.get("/api/v1/sessions"),
    "search": lambda wire: wire.get("/api/v1/search", q="word"),
    "the data of a page": lambda wire: wire.get("/sessions.json"),
    "statistics": lambda wire: wire.get("/api/v1/statistics"),
}


@pytest.mark.slow
@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_that_outlives_a_stop_is_told_so_whether_it_waits_or_is_answered(
    ask: Callable[[Wire], Answer], tmp_path: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteStore, "ask", held.hold(SqliteStore.ask))
    at_once = 2 if ask is QUESTIONS["search"] else 4
    answers = answers_of_a_stop(tmp_path, held, ask, count=MANY, begun=at_once)
    assert [(each.status, each.slug) for each in answers] == [(503, "stopping")] * MANY
    assert {each.headers["x-content-type-options"] for each in answers} == {"nosniff"}


@pytest.mark.slow
def test_a_page_that_outlives_a_stop_says_so_as_a_page(
    tmp_path: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteStore, "ask", held.hold(SqliteStore.ask))
    answers = answers_of_a_stop(
        tmp_path, held, lambda wire: wire.get("/sessions"), count=MANY, begun=4
    )
    assert [each.status for each in answers] == [503] * MANY
    assert all(each.headers["content-type"].startswith("text/html") for each in answers)
    assert all(b"<h1>The server is stopping" in each.body for each in answers)
