"""Commands on a store that a server is writing to: what was answered 202 is there, once."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionbat.server.records import SessionFilter
from sessionbat.server.store.opening import open_store
from tests.server.test_serving import free_port, served, wait_until_healthy, wire_to
from tests.server.wire import Answer, Wire, event

SENDERS = 3


class Load:
    """Senders of new sessions until they are told to stop; some of a user who is to be deleted."""

    def __init__(self, wire: Wire) -> None:
        self.acknowledged: set[str] = set()
        self.wrong: list[Answer] = []
        self._wire = wire
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _send(self, sender: int) -> None:
        for batch in range(100_000):
            if self._stop.is_set():
                return
            ids = [f"new-{sender}-{batch}-{n}" for n in range(20)]
            answer = self._wire.send_lines(
                *(event(each, session_id=f"new-{sender}-{batch}") for each in ids)
            )
            if (answer.status, answer.json.get("accepted")) != (202, len(ids)):
                self.wrong.append(answer)
            self.acknowledged.update(ids)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Wire]:
    port = free_port()
    with served(tmp_path, port) as process:
        wire = wire_to(port)
        wait_until_healthy(wire)
        yield wire
        process.terminate()
        process.wait(20)


def run(directory: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sessionbat", *arguments, "--store", "sqlite:///store.db"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def stored(path: Path) -> Counter[str]:
    store = open_store(f"sqlite:///{path}")
    ids, after = Counter[str](), None
    while True:
        page = store.list_received(after=after)
        ids.update(item.id for item in page.items)
        after = page.next
        if after is None:
            store.close()
            return ids


@pytest.mark.slow
def test_events_answered_202_while_commands_run_are_stored_once(
    serving: Wire, tmp_path: Path
) -> None:
    for number in range(100):
        leaving = {"user_id": "leaving" if number % 2 else "staying"}
        ids = [f"old-{number}-{n}" for n in range(20)]
        serving.send_lines(
            *(event(each, session_id=f"old-{number}", context=leaving) for each in ids)
        )
    load = Load(serving)
    run(tmp_path, "backup", "copy.db")
    run(tmp_path, "delete", "--user", "leaving", "--yes")
    run(tmp_path, "export", "--output", "out.jsonl.gz")
    run(tmp_path, "retention", "--max-age", "1d", "--dry-run")
    load.stop()
    assert load.wrong == []
    answered = serving.get("/api/v1/sessions", user_id="leaving").json["items"]
    assert answered == []  # nor does the server remember them
    counts = stored(tmp_path / "store.db")
    assert set(counts.values()) == {1}
    staying = {f"old-{number}-{n}" for number in range(0, 100, 2) for n in range(20)}
    assert set(counts) == load.acknowledged | staying
    assert len(load.acknowledged) > 100
    copied = stored(tmp_path / "copy.db")
    assert {f"old-{number}-{n}" for number in range(100) for n in range(20)} <= set(copied)
    exported = gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()).splitlines()
    assert staying <= {json.loads(line)["id"] for line in exported} <= set(counts)


@pytest.mark.slow
def test_a_backup_under_load_is_whole_sessions_as_of_one_moment(
    serving: Wire, tmp_path: Path
) -> None:
    load = Load(serving)
    for number in range(3):
        run(tmp_path, "backup", f"copy{number}.db")
    load.stop()
    for number in range(3):
        store = open_store(f"sqlite:///{tmp_path / f'copy{number}.db'}")
        sessions = store.list_sessions(where=SessionFilter(kind="llm"), limit=1000).items
        store.close()
        assert {session.observations for session in sessions} <= {20}  # each was one commit


@pytest.mark.slow
def test_sessions_deleted_by_another_process_leave_the_servers_row_cache(
    serving: Wire, tmp_path: Path
) -> None:
    messages = [{"role": "user", "content": f"message {n}"} for n in range(8)]
    sent = [event(f"e{n}", observation__input=messages, observation__output=n) for n in range(5)]
    serving.send_lines(*sent)
    assert serving.stored() == sent
    run(tmp_path, "delete", "--session", "thread_1", "--yes")
    assert serving.stored() == []
    assert serving.send_lines(*sent).json["accepted"] == 5
    assert serving.stored() == sent
