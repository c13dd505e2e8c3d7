"""``sessionbat spool``: list, export and send what could not be delivered."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from sessionbat import SessionBat
from sessionbat.spooled import list_spools, read_events, send
from sessionbat.testing import Endpoint, receipt, unused_port

RECORD_AND_END = """
import sys
from sessionbat import SessionBat
interaction = SessionBat(app="shop", endpoint=sys.argv[1]).session().interaction()
for n in range(300):
    interaction.llm(model="m", input="hello", output=str(n))
"""


@pytest.fixture
def port() -> int:
    """Of an endpoint that was down while a process recorded 300 events and ended."""
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    subprocess.run([sys.executable, "-c", RECORD_AND_END, url], check=True, timeout=30)
    return port


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sessionbat", "spool", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_nothing_waits_at_first() -> None:
    assert list_spools() == []
    assert command("list").stdout == "Nothing waits.\n"


@pytest.mark.slow
def test_spooled_events_are_listed(port: int) -> None:
    [spooled] = list_spools()
    assert spooled.endpoint == f"http://127.0.0.1:{port}/api/v1/ingestion/events"
    assert spooled.events == 300
    assert "300" in command("list").stdout


@pytest.mark.slow
def test_spooled_events_are_exported(port: int) -> None:
    lines = command("export").stdout.splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == 300
    [spooled] = list_spools()
    assert [line.decode() for line in read_events(spooled)] == lines


@pytest.mark.slow
def test_spooled_events_are_sent_once_the_endpoint_is_up(port: int) -> None:
    late = Endpoint(receipt, port)
    done = command("send")
    late.close()
    assert (done.returncode, "300 of 300" in done.stdout) == (0, True)
    assert len(set(late.acknowledged)) == len(late.acknowledged) == 300
    assert list_spools() == []


@pytest.mark.slow
def test_unsendable_events_stay_in_the_spool(port: int) -> None:
    done = command("send", "--timeout", "0.5")
    assert (done.returncode, "0 of 300" in done.stdout) == (1, True)
    assert list_spools()[0].events == 300


def test_what_a_running_process_holds_stays_its_own(
    new_client: Callable[..., SessionBat],
) -> None:
    client = new_client(endpoint=f"http://127.0.0.1:{unused_port()}")
    client.session().interaction().llm(model="m")
    while not client.stats().spooled:
        client.flush(0.05)
    [spooled] = list_spools()
    assert spooled.events == 1
    assert list(send(spooled, timeout=0.2)) == []
