"""An endpoint that does not take what is imported: it is not waited for, and it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sessionbat import importing
from sessionbat.testing import Answer, Endpoint, receipt
from sessionbat.transports import IngestionTransport
from tests.importing.transcripts import HELLO, HI, chat_line, closing_transport, import_text


@pytest.mark.slow
def test_reading_stops_at_an_endpoint_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_UNDELIVERED_BYTES", 100_000)
    text = "\n".join(chat_line(f"s{n}", HELLO, {**HI, "content": "x" * 1000}) for n in range(1000))
    with refusing_endpoint(silent=True) as (url, speak):
        transport = IngestionTransport(endpoint=url)
        summary = import_text(text=text, transport=transport, stall_seconds=0.2)
        speak.set()  # so that nothing is left for the end of this process
        transport.close(10)
    assert summary.stopped_at is not None
    assert 10 < summary.stopped_at < 100
    assert summary.pending == summary.observations.total() == summary.stopped_at - 1
    assert not summary.complete


def test_an_endpoint_that_refuses_the_key_is_not_waited_for() -> None:
    with Endpoint(lambda _: Answer(401)) as endpoint:
        transport = IngestionTransport(endpoint=endpoint.url, spool=False)
        begun = time.monotonic()
        summary = import_text(text=chat_line("s", HELLO, HI), transport=transport)
        took = time.monotonic() - begun
        endpoint.behave = receipt  # so that nothing is left for the end of this process
        transport.close(0)
    assert took < importing.STALL_SECONDS / 2
    assert summary.pending == 1 and not summary.complete


def test_no_more_is_on_its_way_than_may_be(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_UNDELIVERED_BYTES", 50_000)
    text = "\n".join(chat_line(f"s{n}", HELLO, HI) for n in range(500))
    pending: list[int] = []
    waits: list[float | None] = []
    with closing_transport(server) as transport:
        flush = transport.flush
        monkeypatch.setattr(transport, "flush", lambda t=None: (waits.append(t), flush(t))[1])
        summary = import_text(
            text=text,
            transport=transport,
            on_progress=lambda size: pending.append(transport.stats().pending),
        )
    assert max(pending) < 50
    assert len(waits) < 50
    assert summary.delivered == 500


def test_an_endpoint_that_never_took_an_event_and_refuses_one_keeps_it_and_is_told() -> None:
    with refusing_endpoint() as (url, _):
        summary = import_text(url, chat_line("s", HELLO, HI))
    assert summary.undelivered == summary.pending == 1  # the address may be wrong, not the event
    assert not summary.complete


def test_recording_turned_off_does_not_look_like_success(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONBAT_ENABLED", "0")
    summary = import_text(server, chat_line("s", HELLO, HI))
    assert summary.unrecorded == 1
    assert not summary.complete


@contextmanager
def refusing_endpoint(*, silent: bool = False) -> Iterator[tuple[str, threading.Event]]:
    """Answer 422 to everything; a silent one answers only once its event is set."""
    speak = threading.Event()
    if not silent:
        speak.set()

    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            speak.wait(30)
            self.send_response(422)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{endpoint.server_port}", speak
        finally:
            speak.set()
            endpoint.shutdown()
            thread.join()
