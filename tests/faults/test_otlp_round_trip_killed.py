"""A host that sends spans is killed: the server stores each of its events once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from sessionbat.testing import Answer, Request, unused_port
from tests.faults.host import NEXT, Host, on_disk, run
from tests.faults.test_otlp_processes import BEFORE, KEPT
from tests.server.ingest.otlp.forwarding import forwarding
from tests.server.wire import Wire

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]  # processes of their own

RECORD = """
for n in range(COUNT):
    interaction.llm(model="m", input=str(n), observation_id=f"e{n}")
interaction.feedback(score=1, observation_id="e0")
until(lambda: counts().spooled + counts().delivered == COUNT + 1)
say("recorded")
time.sleep(60)  # until it is killed
"""

PACED = """
def paced(count):
    for n in range(count):
        if n % 50 == 0:
            client.flush(0.3)
        yield n
"""


def stored_once(server: Wire, count: int) -> None:
    found = server.stored("s", "test-app")
    inputs = [each["observation"]["input"] for each in found if "observation" in each]
    assert sorted(map(int, inputs)) == list(range(count))
    assert [each["feedback"]["score"] for each in found if "feedback" in each] == [1]


def kill(host: Host) -> None:
    os.kill(host.process.pid, signal.SIGKILL)
    assert host.process.wait(20) == -signal.SIGKILL


def deliver_the_rest(url: str) -> None:
    done = run(NEXT, url, KEPT, BEFORE, timeout=90)
    assert done.returncode == 0, done.stderr
    assert on_disk() == []


@pytest.mark.parametrize("count", [1, 300])
def test_what_was_on_disk_when_the_host_was_killed_is_stored_once(
    tmp_path: Path, count: int
) -> None:
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    with Host(RECORD.replace("COUNT", str(count)), url, KEPT, BEFORE) as host:
        assert host.hear() == "recorded"
        kill(host)
    assert len(on_disk()) == count + 1
    with running(Settings(port=port, store_url=f"sqlite:///{tmp_path / 'store.db'}")) as base:
        deliver_the_rest(url)
        stored_once(Wire(base), count)


@pytest.mark.parametrize("hung", [1, 2, 3])
def test_what_was_stored_but_not_acknowledged_when_the_host_was_killed_is_stored_once(
    tmp_path: Path, hung: int
) -> None:
    """One request hangs after the server has stored it; the host is killed meanwhile."""
    requests = list[Request]()

    def hang(request: Request, answer: Answer) -> Answer:
        requests.append(request)
        return Answer(hang=True) if len(requests) == hung else answer

    count, store = 200, f"sqlite:///{tmp_path / 'store.db'}"
    with running(Settings(port=0, store_url=store)) as base:
        with forwarding(Wire(base), hang) as backend:
            code = RECORD.replace("range(COUNT)", "paced(COUNT)").replace("COUNT", str(count))
            with Host(PACED + code, backend.url, KEPT, BEFORE) as host:
                assert host.hear() == "recorded"
                kill(host)
            stored_before = {each["id"] for each in Wire(base).stored("s", "test-app")}
            assert stored_before & set(on_disk())  # there was something to store twice
            deliver_the_rest(backend.url)
        stored_once(Wire(base), count)
