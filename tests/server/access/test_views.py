"""How many answers are made at once, and when they are given."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from sessionbat.server.access.answers_at_once import AtOnce, on_the_beat
from sessionbat.server.access.permissions import EVERYTHING, Access, access_of, grant
from sessionbat.server.pages import session_page
from sessionbat.server.store.questions import Question, SearchQuery
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.conftest import eventually
from tests.server.wire import Wire, event


async def never_gone() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


def request() -> Request:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    grant(scope, EVERYTHING)
    return Request(scope, never_gone)


def test_no_more_are_made_at_once() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def answer(_: Request) -> Response:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)  # the work of an answer
        with lock:
            now -= 1
        return Response()

    async def ask() -> None:
        endpoint = AtOnce(3)(answer)
        await asyncio.gather(*(endpoint(request()) for _ in range(30)))

    asyncio.run(ask())
    assert most == 3


def test_an_answer_that_fails_makes_room_for_the_next() -> None:
    def fail(_: Request) -> Response:
        raise ValueError

    async def ask() -> None:
        endpoint = AtOnce(1)(fail)
        for _ in range(3):
            with pytest.raises(ValueError):
                await endpoint(request())

    asyncio.run(ask())


@pytest.mark.parametrize("others", ["/session?app=support-bot&id=thread_1", "/api/v1/search?q=x"])
def test_the_list_waits_for_nobody_who_looks_at_sessions_or_searches(
    others: str, server: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.send(event()).status == 202
    gate = threading.Event()

    def held(*_: Any, **__: Any) -> Any:
        gate.wait(20)
        raise ValueError

    ask = SqliteStore.ask

    def held_while_searching(store: SqliteStore, question: Question[Any]) -> Any:
        return held() if isinstance(question, SearchQuery) else ask(store, question)

    monkeypatch.setattr(session_page, "present_session", held)
    monkeypatch.setattr(SqliteStore, "ask", held_while_searching)
    threads = [
        threading.Thread(target=server.request, args=("GET", others), daemon=True)
        for _ in range(60)
    ]
    for each in threads:
        each.start()
    try:
        for _ in range(5):
            assert server.get("/sessions").status == 200
            assert server.get("/api/v1/sessions").status == 200
            assert server.get("/metrics").status == 200
    finally:
        gate.set()
        for each in threads:
            each.join()


def test_answers_on_the_beat_take_one_of_a_few_times() -> None:
    async def quick(_: Request) -> Response:
        return Response()

    async def slower(_: Request) -> Response:
        await asyncio.sleep(0.02)  # longer than one beat, shorter than two
        return Response()

    async def failing(_: Request) -> Response:
        raise ValueError

    async def time_of(answer: Any, is_kept: bool = True) -> float:
        started = time.perf_counter()
        with suppress(ValueError):
            await on_the_beat(answer, lambda _: is_kept)(request())
        return time.perf_counter() - started

    async def ask() -> list[float]:
        return [await time_of(each) for each in (quick, failing, slower)]

    taken = asyncio.run(ask())
    assert min(taken) >= 0.0124
    assert taken[2] >= 0.0249
    assert asyncio.run(time_of(quick, is_kept=False)) < 0.0124


@pytest.mark.usefixtures("server")
def test_a_key_of_one_app_cannot_tell_by_the_clock_which_words_another_app_holds(
    server: Wire, make_key: Callable[..., str], tmp_path: Path
) -> None:
    one, every = make_key("read", "A"), make_key("admin")
    writer = server.with_key(every)
    words = [event(f"e{n}", app="B", observation__input=f"acquisition{n}") for n in range(3000)]
    assert writer.send_lines(*words, event("mine", app="A")).status == 202
    eventually(lambda: len(writer.get("/api/v1/search", q="acquisition2999").json["items"]) == 1)

    def median(query: str) -> float:
        times = []
        for _ in range(21):
            started = time.perf_counter()
            assert server.with_key(one).get("/api/v1/search", q=query).json["items"] == []
            times.append(time.perf_counter() - started)
        return sorted(times)[10]

    assert min(median("acq*"), median("zzq*")) >= 0.0125


HOSTILE = {
    "of tiny objects": "[" + ",".join(["{}"] * 100_000) + "]",
    "in a string": json.dumps("[" + ",".join(["{}"] * 100_000) + "]"),
    "of many names": json.dumps({f"k{n}": {} for n in range(60_000)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("given", HOSTILE.values(), ids=HOSTILE)
def test_a_page_of_hostile_events_is_small_and_says_what_it_leaves_out(
    given: str, server: Wire
) -> None:
    for place in ("input", "output"):
        raw = json.dumps(event(place, type="tool", **{f"observation__{place}": "@@"}))
        assert server.send(raw.replace('"@@"', given).encode()).status == 202
    answer = server.get("/session", app="support-bot", id="thread_1")
    assert answer.status == 200
    assert len(answer.body) < 200_000
    assert server.get("/session.json", app="support-bot", id="thread_1").status == 200


def request_of(app: str) -> Request:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    grant(scope, Access(may_read=True, may_write=False, app=app))
    return Request(scope, never_gone)


@pytest.mark.parametrize("places", [2, 3, 4])
def test_one_app_never_holds_every_place(places: int) -> None:
    gate, began = threading.Event(), list[str]()

    def answer(given: Request) -> Response:
        app = access_of(given.scope).app or ""
        began.append(app)
        if app == "attacker":
            gate.wait(20)
        return Response()

    async def ask() -> None:
        endpoint = AtOnce(places)(answer)
        held = [asyncio.create_task(endpoint(request_of("attacker"))) for _ in range(40)]
        await asyncio.sleep(0)
        await asyncio.wait_for(endpoint(request_of("neighbour")), 10)
        assert began.count("attacker") <= places - 1
        gate.set()
        await asyncio.gather(*held)

    asyncio.run(ask())


def test_waiting_requests_are_served_app_by_app() -> None:
    order: list[str] = []

    def answer(given: Request) -> Response:
        order.append(access_of(given.scope).app or "")
        return Response()

    async def ask() -> None:
        endpoint = AtOnce(1)(answer)
        await asyncio.gather(*(endpoint(request_of(app)) for app in "aaaaabc"))

    asyncio.run(ask())
    assert {*order[1:4]} == {"a", "b", "c"}
    assert order[4:] == ["a"] * 3


def test_a_place_of_an_asker_who_left_is_given_to_the_next() -> None:
    async def ask() -> None:
        endpoint = AtOnce(1)(lambda _: Response())
        first = asyncio.create_task(endpoint(request_of("a")))
        gone = [asyncio.create_task(endpoint(request_of("a"))) for _ in range(3)]
        await asyncio.sleep(0)
        for each in gone:
            each.cancel()
        await first
        await asyncio.wait_for(endpoint(request_of("b")), 10)

    asyncio.run(ask())
