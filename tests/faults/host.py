"""A host program in a process of its own, and what it leaves behind on disk and at the endpoint."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from types import TracebackType
from typing import NamedTuple

from sessionbat.spooled import list_spools, read_events
from sessionbat.testing import Endpoint
from tests.conftest import eventually

PREAMBLE = """
import os, signal, sys, threading, time
from sessionbat import SessionBat
BEFORE
client = SessionBat(app="test-app", endpoint=sys.argv[1], OPTIONS)
interaction = client.session(session_id="s").interaction()
def record(count, text="hello"):
    return [interaction.llm(model="m", input=text, output=str(n)) for n in range(count)]
def say(*words):
    print(*words, flush=True)
def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)  # between two looks
def counts():
    s = client.stats()
    assert s.recorded == s.delivered + s.pending + s.spooled + sum(s.dropped.values()), s
    return s
"""

#: Delivers what waits on disk, and says how many events that were.
NEXT = """
stats = client.stats()
deadline = time.monotonic() + 60
from sessionbat.spooled import list_spools
while any(spooled.bytes for spooled in list_spools()) and time.monotonic() < deadline:
    client.flush(1)
    time.sleep(0.01)  # between two looks
say(client.stats().adopted)
"""


def script(code: str, options: str = "", before: str = "", first: str = "") -> str:
    """Write a host program; ``first`` comes before all else, ``before`` before the client."""
    preamble = PREAMBLE.replace("OPTIONS", options).replace("BEFORE", textwrap.dedent(before))
    return textwrap.dedent(first) + preamble + textwrap.dedent(code)


class Ended(NamedTuple):
    """How a host ended, and what it had said."""

    returncode: int
    stdout: str
    stderr: str


class Host:
    """A running host program; killed at the end of the block if it still runs."""

    def __init__(
        self, code: str, url: str, options: str = "", before: str = "", first: str = ""
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script(code, options, before, first), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._said: queue.Queue[str] = queue.Queue()
        self._err: list[str] = []
        self._readers = [
            threading.Thread(target=self._listen, daemon=True),
            threading.Thread(target=self._listen_to_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def hear(self, timeout: float = 20.0) -> str:
        """Wait for a line that it says."""
        try:
            return self._said.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError("the host said nothing in time") from None

    def heard(self) -> list[str]:
        """Every line that it has said and that was not waited for."""
        return [self._said.get() for _ in range(self._said.qsize())]

    def tell(self, line: str = "go") -> None:
        """Say a line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")

    def end(self, timeout: float = 30.0) -> Ended:
        """Wait until it has ended."""
        try:
            status = self.process.wait(timeout)
        finally:
            self.kill()
        return Ended(status, "\n".join(self.heard()), "".join(self._err))

    def kill(self) -> None:
        """Kill it if it still runs, and wait until all that it had said is heard."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(5)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line.rstrip("\n"))

    def _listen_to_errors(self) -> None:
        assert self.process.stderr is not None
        self._err += self.process.stderr

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]


def run(
    code: str, url: str, options: str = "", before: str = "", first: str = "", timeout: float = 40.0
) -> Ended:
    """Run a host program to its end."""
    with Host(code, url, options, before, first) as host:
        return host.end(timeout)


def deliver_the_rest(url: str) -> int:
    """Run the next process of the same host; how many events it delivered for earlier ones."""
    done = run(NEXT, url, timeout=90)
    assert (done.returncode, done.stderr) == (0, ""), done
    return int(done.stdout)


def on_disk() -> list[str]:
    """Ids of the events that wait on disk, in every spool of this test."""
    return [json.loads(line)["id"] for spooled in list_spools() for line in read_events(spooled)]


def wait_until_on_disk(count: int) -> None:
    """Wait until so many events wait on disk."""
    eventually(lambda: len(on_disk()) >= count)


def stored(endpoint: Endpoint) -> Counter[str]:
    """How many different events of each text the endpoint has acknowledged."""
    taken = set(endpoint.acknowledged)
    events = {
        event["id"]: event["observation"]["input"]
        for request in list(endpoint.requests)
        for event in request.events
    }
    return Counter(text for event_id, text in events.items() if event_id in taken)
