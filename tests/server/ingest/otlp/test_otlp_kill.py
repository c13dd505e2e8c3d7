"""Spans that were answered 200 survive kill -9 at any moment: each once, in its session."""

from __future__ import annotations

import http.client
import random
import threading
import time
from pathlib import Path

import pytest

from sessionbat.server.store.opening import check, open_store
from tests.conftest import eventually
from tests.server.ingest.otlp.wire_format import PROTOBUF, chat, protobuf
from tests.server.test_serving import free_port, served, wait_until_healthy, wire_to
from tests.server.wire import Wire


class Senders:
    """Each sends traces span by span, the one that names the session last, and notes the answered.

    Args:
        wire: The server.
        number: Of the round, so that no id is used twice.
    """

    def __init__(self, wire: Wire, number: int) -> None:
        self.acknowledged: dict[str, str] = {}
        self.wrong: list[int] = []
        self._wire = wire
        self._number = number
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(3)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)

    def _send(self, sender: int) -> None:
        for turn in range(1, 100_000):
            trace = f"{self._number:08x}{sender:08x}{turn:016x}"
            session = f"thread_{self._number}_{sender}_{turn}"
            for number in range(1, 5):
                named = {"gen_ai.conversation.id": session} if number == 4 else {}
                span = chat(f"{number:016x}", trace, attributes=named)
                for _ in range(2):  # as a sender does that missed an answer
                    if not self._is_stored(protobuf([span])):
                        return
                self.acknowledged[f"{trace}-{number:016x}"] = session if number == 4 else ""

    def _is_stored(self, body: bytes) -> bool:
        try:
            answer = self._wire.request("POST", "/v1/traces", body, PROTOBUF)
        except (OSError, http.client.HTTPException):
            return False  # killed
        if (answer.status, answer.body) != (200, b""):
            self.wrong.append(answer.status)
        return True


@pytest.mark.slow
def test_spans_answered_200_are_stored_once_after_kill_9(tmp_path: Path) -> None:
    acknowledged: dict[str, str] = {}
    for number in range(1, 4):
        port = free_port()
        with served(tmp_path, port) as process:
            wait_until_healthy(wire_to(port))
            senders = Senders(wire_to(port), number)
            eventually(lambda senders=senders: any(senders.acknowledged.values()))
            # The moment of death, at random; nothing is waited for.
            time.sleep(random.uniform(0, 0.5))
            process.kill()
            process.wait()
            senders.join()
        assert senders.wrong == []
        acknowledged |= senders.acknowledged
        stored = stored_spans(tmp_path / "store.db")
        assert acknowledged.keys() <= stored.keys()
        for span, session in acknowledged.items():
            assert session in ("", stored[span])
        findings = check(f"sqlite:///{tmp_path / 'store.db'}")
        assert [each for each in findings if not each.is_well] == []
    assert any(acknowledged.values())


@pytest.mark.slow
def test_a_trace_goes_on_in_the_next_process(tmp_path: Path) -> None:
    trace = "0123456789abcdef" * 2
    for number in (1, 2, 3):
        port = free_port()
        with served(tmp_path, port) as process:
            wire = wire_to(port)
            wait_until_healthy(wire)
            named = {"gen_ai.conversation.id": "thread_42"} if number == 2 else {}
            body = protobuf([chat(f"{number:016x}", trace, attributes=named)])
            assert wire.request("POST", "/v1/traces", body, PROTOBUF).body == b""
            process.kill()
            process.wait()
            expected = {1: {trace: 1}, 2: {"thread_42": 2}, 3: {"thread_42": 3}}[number]
        assert sessions_in(tmp_path / "store.db") == expected


def stored_spans(path: Path) -> dict[str, str]:
    """Say of each event in which session it is; each is there once."""
    store = open_store(f"sqlite:///{path}")
    try:
        events = [each.event for each in store.list_received(limit=1_000_000).items]
        sessions = {each["id"]: each["session_id"] for each in events}
        assert len(sessions) == len(events) == store.count_events()
        return sessions
    finally:
        store.close()


def sessions_in(path: Path) -> dict[str, int]:
    store = open_store(f"sqlite:///{path}")
    try:
        return {each.session_id: each.observations for each in store.list_sessions().items}
    finally:
        store.close()
