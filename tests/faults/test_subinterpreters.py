"""A second interpreter in the process: as far as it goes, and nothing is lost without a word."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sessionbat.testing import Endpoint
from tests.faults.host import deliver_the_rest, on_disk

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]  # processes of their own

RUN = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
inside = interpreters.create()
failed = None
try:
    find = "import sys; sys.path[:0] = %r\\n" % sys.path
    failed = interpreters.run_string(inside, find + {code!r})
except Exception as error:
    failed = error
print(failed)
interpreters.destroy(inside)
"""
RECORD = """
from sessionbat import SessionBat
client = SessionBat(app="a", endpoint={url!r})
for number in range(20):
    client.session().interaction().llm(input=[number, 1j])
print(client.flush(0.5).spooled)
"""


def run_inside(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN.format(code=RECORD.format(url=url))],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="there each has a lock of its own")
def test_what_is_recorded_in_a_subinterpreter_is_kept_for_a_later_process(
    endpoint: Endpoint,
) -> None:
    """It may start no daemon thread, so nothing is sent there."""
    done = run_inside(endpoint.url)

    assert (done.returncode, done.stdout.split()) == (0, ["20", "None"]), done.stderr
    assert endpoint.requests == []
    assert len(on_disk()) == 20
    assert deliver_the_rest(endpoint.url) == 20


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there they share one lock")
def test_a_subinterpreter_with_a_lock_of_its_own_is_refused_when_the_client_is_made(
    endpoint: Endpoint,
) -> None:
    """The encoder beneath, orjson, does not load there: nothing is recorded, so nothing is lost."""
    done = run_inside(endpoint.url)

    assert done.returncode == 0
    assert "orjson" in done.stdout
    assert "does not support loading in subinterpreters" in done.stdout
