"""Thousands of damaged bodies: never a 5xx, never a hang, never a good event lost.

A thousand by default, in process; 100,000 with ``-m slow``; some hundreds over real sockets.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionbat.server.app import create_app
from sessionbat.server.settings import Settings
from sessionbat.server.store.opening import open_store
from tests.conftest import eventually
from tests.server.ingest.mutations import Mutated, mutate
from tests.server.wire import PATH, Wire, event

STATUSES = {202, 400, 413, 415, 422}
AT_ONCE = 16


async def post(app: Any, body: Mutated) -> int:
    """Send a body to the application itself; give the status of its answer."""
    headers = [(b"host", b"localhost"), (b"content-type", body.content_type.encode())]
    if body.encoding:
        headers.append((b"content-encoding", body.encoding.encode()))
    scope = {
        "type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode(),
        "headers": headers, "query_string": b"", "root_path": "", "scheme": "http",
        "http_version": "1.1", "server": ("localhost", 80), "client": ("localhost", 1),
    }  # fmt: skip
    parts = iter([{"type": "http.request", "body": body.data, "more_body": False}])
    statuses: list[int] = []

    async def receive() -> Any:
        return next(parts)

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 0))

    await asyncio.wait_for(app(scope, receive, send), 20)
    return statuses[0]


async def post_all(app: Any, seeds: range) -> dict[int, int]:
    """Send the bodies of all seeds, some at once; give the status of each."""
    statuses: dict[int, int] = {}
    waiting = iter(seeds)

    async def sender() -> None:
        for seed in waiting:
            statuses[seed] = await post(app, mutate(seed))

    async with app.router.lifespan_context(app):
        await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return statuses


def check_mutations(directory: Path, seeds: range) -> None:
    url = f"sqlite:///{directory / 'store.db'}"
    app = create_app(Settings(store_url=url))
    with ThreadPoolExecutor(1) as thread:  # a browser may keep a loop running in this one
        statuses = thread.submit(asyncio.run, post_all(app, seeds)).result()
    print("statuses:", dict(Counter(statuses.values())))
    assert set(statuses.values()) <= STATUSES
    expected = {f"good-{seed}" for seed in seeds if mutate(seed).is_framed}
    assert len(expected) > len(seeds) / 2
    assert expected - stored_ids(url) == set()


def stored_ids(url: str) -> set[str]:
    """Give the ids of what is stored, once search and statistics have swallowed it too."""
    store = open_store(url)
    try:
        eventually(lambda: store.measure().events_behind == 0, timeout=60)
        ids: set[str] = set()
        for n in range(50):
            after = None
            while True:
                page = store.list_events("support-bot", f"s{n}", limit=1000, after=after)
                ids |= {item.id for item in page.items}
                after = page.next
                if after is None:
                    break
        return ids
    finally:
        store.close()


@pytest.mark.slow
def test_a_thousand_damaged_bodies_lose_no_good_event(tmp_path: Path) -> None:
    check_mutations(tmp_path, range(1_000))


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_a_hundred_thousand_damaged_bodies_lose_no_good_event(tmp_path: Path) -> None:
    check_mutations(tmp_path, range(100_000))


@pytest.mark.slow
def test_a_good_event_after_a_damaged_body_is_stored_over_real_sockets(server: Wire) -> None:
    for seed in range(300):
        body = mutate(seed)
        answer = server.send(body.data, body.content_type, body.encoding)
        assert answer.status in STATUSES, seed
        after = server.send(event(f"after-{seed}", session_id="after"))
        assert (after.status, after.json["accepted"]) == (202, 1), seed
    assert len(server.stored("after")) == 300


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=300),
    form=st.sampled_from(["application/json", "application/x-ndjson"]),
    encoding=st.sampled_from([None, "gzip", "zstd"]),
)
def test_any_bytes_at_all_are_answered(
    standing_app: Callable[[Mutated], int], data: bytes, form: str, encoding: str | None
) -> None:
    assert standing_app(Mutated(data, form, encoding, "", False)) in STATUSES


@pytest.fixture(scope="module")
def standing_app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    url = f"sqlite:///{tmp_path_factory.mktemp('any') / 'store.db'}"
    app = create_app(Settings(store_url=url))
    with ThreadPoolExecutor(1) as thread:
        runner = asyncio.Runner()

        def ask(body: Mutated) -> int:
            return thread.submit(runner.run, post(app, body)).result(20)

        context = app.router.lifespan_context(app)
        thread.submit(runner.run, context.__aenter__()).result()
        yield ask
        thread.submit(runner.run, context.__aexit__(None, None, None)).result()
        thread.submit(runner.close).result()
