"""A running sink and what may be asked of it; the sink itself is `sink_server`."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).parents[1]


class Sink:
    """A running sink, as the benchmark's own process sees it."""

    def __init__(self, ports: dict[str, int]) -> None:
        self._ports = ports

    def address(self, manner: str = "up") -> str:
        return f"http://127.0.0.1:{self._ports[manner]}"

    def reset(self) -> None:
        control(self.address(), "reset")

    def tally(self) -> dict[str, int]:
        """Count `events` (different ones), `requests`, `bytes`, `connections`, `most_in_flight`."""
        return control(self.address(), "tally")


@contextmanager
def running_sink() -> Iterator[Sink]:
    """Run a sink in a process of its own; it ends with the block, or with this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.sink_server"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Sink(json.loads(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def control(address: str, what: str) -> dict[str, int]:
    """Ask a sink to `reset` or `tally`; contestants' processes do so after their warm-up."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    connection.request("GET", f"/-/{what}")
    answer: dict[str, int] = json.loads(connection.getresponse().read())
    connection.close()
    return answer
