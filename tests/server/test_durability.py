"""What was answered 202 survives kill -9 at any moment, once."""

from __future__ import annotations

import http.client
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from sessionbat.server.store.opening import open_store
from tests.server.test_serving import SERVE, free_port, served, wait_until_healthy, wire_to
from tests.server.wire import Answer, Wire, event

SENDERS = 4


class Load:
    """Senders that note which events were answered 202, and send again what was not."""

    def __init__(self, wire: Wire, round_number: int) -> None:
        self.acknowledged: list[str] = []
        self.wrong: list[Answer] = []
        self._wire = wire
        self._round = round_number
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)

    def _send(self, sender: int) -> None:
        # Some alone and some in batches, each twice: as a sender does that missed an answer.
        size = 1 if sender % 2 else 50
        for batch in range(100_000):
            ids = [f"{self._round}-{sender}-{batch}-{n}" for n in range(size)]
            events = [event(each, session_id=f"s{sender}", interaction_id=each) for each in ids]
            try:
                self._count(self._wire.send_lines(*events), "accepted", size)
                self.acknowledged += ids
                self._count(self._wire.send_lines(*events), "duplicates", size)
            except (OSError, http.client.HTTPException):
                return  # killed

    def _count(self, answer: Answer, name: str, expected: int) -> None:
        if (answer.status, answer.json[name]) != (202, expected):
            self.wrong.append(answer)


def stored_ids(path: Path) -> list[str]:
    store = open_store(f"sqlite:///{path}")
    try:
        ids, counted = list[str](), 0
        for session in store.list_sessions().items:
            counted += session.observations
            assert session.interactions == session.observations
            after = None
            while True:
                page = store.list_events(session.app, session.session_id, limit=1000, after=after)
                ids += [item.event["id"] for item in page.items]
                after = page.next
                if after is None:
                    break
        assert counted == len(ids) == store.count_events()
        return ids
    finally:
        store.close()


def kill_under_load(directory: Path, round_number: int, seconds: float) -> list[str]:
    """Serve, send, kill -9 after some seconds; give what had been answered 202."""
    port = free_port()
    with served(directory, port) as process:
        wait_until_healthy(wire_to(port))
        load = Load(wire_to(port), round_number)
        time.sleep(seconds)  # the moment of death, at random; nothing is waited for
        process.kill()
        process.wait()
        load.join()
    assert load.wrong == []
    return load.acknowledged


def check_rounds(directory: Path, rounds: int) -> None:
    acknowledged: list[str] = []
    for round_number in range(rounds):
        seconds = random.uniform(0.05, 0.5)
        acknowledged += kill_under_load(directory, round_number, seconds)
        stored = Counter(stored_ids(directory / "store.db"))
        assert set(acknowledged) <= stored.keys()
        assert set(stored.values()) == {1}
    assert len(acknowledged) > rounds  # there was something to lose


@pytest.mark.slow
def test_events_answered_202_are_stored_once_after_kill_9(tmp_path: Path) -> None:
    check_rounds(tmp_path, rounds=3)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_events_answered_202_are_stored_once_after_many_kills(tmp_path: Path) -> None:
    check_rounds(tmp_path, rounds=20)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_kill_while_the_store_is_made_harms_no_later_start(tmp_path: Path) -> None:
    for number in range(30):
        path = tmp_path / str(number)
        path.mkdir()
        with served(path, free_port()) as process:
            deadline = time.monotonic() + 20
            while not list(path.iterdir()):
                assert time.monotonic() < deadline
            time.sleep(random.uniform(0, 0.02))  # the moment of death
            process.kill()
        assert stored_ids(path / "store.db") == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_the_file_is_synced_before_the_answer_is_sent(tmp_path: Path) -> None:
    port = free_port()
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-e", "trace=fsync,fdatasync,sendto,write", "-o", str(trace)]
    url = f"sqlite:///{tmp_path / 'store.db'}"
    process = subprocess.Popen([*strace, sys.executable, "-c", SERVE, str(port), url])
    try:
        wait_until_healthy(wire_to(port))
        wire_to(port).send(event())
    finally:
        traced = int(trace.read_text().split(maxsplit=1)[0])
        os.kill(traced, signal.SIGTERM)  # strace ends with what it traces
        process.wait(20)
    calls = trace.read_text().splitlines()
    answered = next(n for n, call in enumerate(calls) if "202 Accepted" in call)
    asked = max(n for n, call in enumerate(calls[:answered]) if "200 OK" in call)
    assert any("sync(" in call for call in calls[asked:answered])
