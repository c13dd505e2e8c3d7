"""What the host is made of: threads, event loops, green threads, other interpreters, settings."""

from __future__ import annotations

import logging
import shutil
import statistics
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionbat import SessionBat
from sessionbat.errors import ConfigurationError
from sessionbat.testing import Answer, Endpoint, receipt
from tests.conftest import eventually
from tests.faults.conftest import Record
from tests.faults.host import deliver_the_rest, run, stored

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]  # processes of their own

NewClient = Callable[..., SessionBat]

SLOW = pytest.mark.slow


@pytest.mark.timeout(400)
@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.long)])
def test_64_threads(endpoint: Endpoint, client: SessionBat, count: int) -> None:
    """Row 51: none lost; what a call costs its thread is bounded."""
    took: list[list[float]] = [[] for _ in range(64)]
    text = "x" * 700

    def work(number: int) -> None:
        interaction = client.session(session_id=str(number)).interaction()
        for _ in range(count):
            started = time.thread_time()
            interaction.llm(model="m", input=text)
            took[number].append(time.thread_time() - started)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(100)
    stats = client.stats()
    assert (stats.recorded, stats.delivered) == (64 * count, 64 * count)
    assert len(set(endpoint.acknowledged)) == 64 * count
    # 50 us on an idle machine; a thread that is interrupted pays for the switch.
    assert statistics.quantiles([t for times in took for t in times], n=100)[-1] < 0.001


LOOP = """
async def work():
    await client.aflush(10)  # the thread that will wait is made, the connection is there
    took = []
    for _ in range(200):
        began = time.perf_counter()
        record(1)
        took.append(time.perf_counter() - began)
        await pause(0)
    say(sorted(took)[-3] < 0.02)
"""

LOOPS = {
    "asyncio": "import asyncio\npause = asyncio.sleep\nrun = asyncio.run",
    "uvloop": "import asyncio, uvloop\npause = asyncio.sleep\nrun = uvloop.run",
    "trio": "import trio\npause = trio.sleep\nrun = lambda work: trio.run(lambda: work)",
}


@pytest.mark.parametrize(
    "loop", ["asyncio", pytest.param("uvloop", marks=SLOW), pytest.param("trio", marks=SLOW)]
)
def test_event_loops(endpoint: Endpoint, loop: str) -> None:
    """Row 52: recording never blocks the loop, whatever the endpoint does; two loops in a row."""
    pytest.importorskip(loop)
    work = LOOP if loop != "trio" else LOOP.replace("await client.aflush(10)", "await pause(0)")
    done = run(
        f"record(1)\nclient.flush(10)\n{LOOPS[loop]}\n{work}\nrun(work())\nrun(work())",
        endpoint.url,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True"]), done.stderr
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 401}


def test_a_loop_that_is_closed_in_the_middle_of_a_flush(endpoint: Endpoint) -> None:
    """Row 52."""
    endpoint.behave = lambda request: Answer(hang=True)
    done = run(
        """
        import asyncio
        async def work():
            record(10)
            await asyncio.wait_for(client.aflush(1), 0.2)
        try:
            asyncio.run(work())
        except TimeoutError:
            say("closed")
        record(5)
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stdout) == (0, "closed"), done.stderr
    endpoint.behave = receipt
    endpoint.release()
    assert deliver_the_rest(endpoint.url) == 15


GREEN = {
    "gevent": ("from gevent import monkey\nmonkey.patch_all()", "import gevent", "g.join()"),
    "eventlet": ("import eventlet\neventlet.monkey_patch()", "import eventlet", "g.wait()"),
}


@pytest.mark.parametrize("library", ["gevent", pytest.param("eventlet", marks=SLOW)])
@pytest.mark.parametrize("first", ["patch", "import"])
@pytest.mark.parametrize(
    "up", [True, pytest.param(False, marks=SLOW)], ids=["endpoint-up", "endpoint-down"]
)
def test_green_threads(endpoint: Endpoint, library: str, first: str, up: bool) -> None:
    """Row 53: patched before and after the import of sessionbat; no deadlock, nothing lost.

    Patching when the client is made already breaks its locks, as it breaks everybody's.
    """
    pytest.importorskip(library)
    if not up:
        endpoint.behave = lambda request: Answer(503)
    patch, use, join = GREEN[library]
    patch = f"import warnings\nwarnings.simplefilter('ignore')\n{patch}"
    code = f"{use}\n[{join} for g in [{library}.spawn(record, 50) for _ in range(4)]]"
    done = run(
        f"{code}\nclient.flush({10 if up else 0.3})\ncounts()\nrecord(50)",
        endpoint.url,
        before=patch if first == "import" else "",
        first=patch if first == "patch" else "",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 250}


SUB_INTERPRETER = """
import _xxsubinterpreters as interpreters, os, sys, textwrap
code = textwrap.dedent('''
    import sys
    try:
        from sessionbat import SessionBat
        client = SessionBat(app="test-app", endpoint=%r)
    except ImportError as error:
        print("cannot be imported:", error)
    else:
        interaction = client.session(session_id="s").interaction()
        for _ in range(20):
            interaction.llm(model="m", input="inner")
        client.flush(0.2)
        s = client.stats()
        print("recorded", s.recorded)
''' % sys.argv[1])
one = interpreters.create()
interpreters.run_string(one, code)
interpreters.destroy(one)
record(5)
"""


def test_a_sub_interpreter(endpoint: Endpoint) -> None:
    """Row 56: records there, or says at the import that it cannot; the main one is unharmed."""
    if sys.version_info >= (3, 13):
        pytest.skip("_xxsubinterpreters is called _interpreters from Python 3.13 on")
    done = run(SUB_INTERPRETER, endpoint.url)
    assert done.returncode == 0, done.stderr
    assert "recorded 20" in done.stdout or "cannot be imported" in done.stdout
    deliver_the_rest(endpoint.url)
    assert stored(endpoint)["hello"] == 5
    assert stored(endpoint)["inner"] == (20 if "recorded" in done.stdout else 0)


def test_free_threaded_python() -> None:
    """Row 56."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this Python has the global interpreter lock")


def test_pypy() -> None:
    """Row 56."""
    if shutil.which("pypy3") is None:
        pytest.skip("pypy3 is not installed; orjson has no wheel for it")


@pytest.mark.slow
def test_a_thread_limit(endpoint: Endpoint) -> None:
    """Row 54: where no thread can be started, events are kept on disk by the call itself."""
    done = run(
        """
        start = threading.Thread.start
        def refuse(self):
            if self.name.startswith("sessionbat"):
                raise RuntimeError("can't start new thread")
            start(self)
        threading.Thread.start = refuse
        record(20)
        say(counts().spooled)
        threading.Thread.start = start
        record(1)
        client.flush(10)
        say(counts().delivered)
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["20", "21"]), done.stderr


CLOCKS = """
import time
shift = [0]
now, now_ns = time.time, time.time_ns
time.time = lambda: now() + shift[0]
time.time_ns = lambda: now_ns() + shift[0] * 1_000_000_000
"""


@pytest.mark.parametrize("up", [True, False], ids=["endpoint-up", "endpoint-down"])
def test_the_wall_clock_jumps(endpoint: Endpoint, up: bool) -> None:
    """Row 57: an hour back, a day on; nothing waits for it, nothing is lost, no id comes twice."""
    if not up:
        endpoint.behave = lambda request: Answer(503, {"Retry-After": "0"})
    done = run(
        """
        began, ids = time.monotonic(), []
        for shift[0] in (0, -3600, 86400, 0, -86400):
            ids += record(20)
            client.flush(0.3)
        ids += record(20)
        shift[0] -= 3600  # while they linger
        until(lambda: not client.stats().pending, seconds=15)
        say(len(ids), len(set(ids)), time.monotonic() - began < 10)
        """,
        endpoint.url,
        before=CLOCKS,
    )
    assert (done.returncode, done.stdout) == (0, "120 120 True"), done.stderr
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 120}


@pytest.mark.parametrize(
    ("options", "slug"),
    [
        ({"api_key": "sbat ingest"}, "bad-api-key"),
        ({"api_key": "sbat_ingest\nx"}, "bad-api-key"),
        ({"api_key": "sbat_ingest_\u00e9"}, "bad-api-key"),
        ({"api_key": ""}, "no-api-key"),
        ({"api_key": "   "}, "no-api-key"),
        ({"api_key": "k", "endpoint": "ingest.example.com"}, "bad-endpoint"),
        ({"api_key": "k", "endpoint": "ftp://ingest.example.com"}, "bad-endpoint"),
    ],
)
def test_a_key_or_an_endpoint_that_cannot_work(options: dict[str, str], slug: str) -> None:
    """Row 58: said at construction, without the key."""
    with pytest.raises(ConfigurationError, match=rf"\[{slug}\]") as raised:
        SessionBat(**options)  # type: ignore[arg-type]
    assert isinstance(raised.value, ValueError)
    assert "sbat" not in str(raised.value)


def test_a_key_with_space_around_it(
    endpoint: Endpoint, new_client: NewClient, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 58: stripped, and never logged whatever happens."""
    caplog.set_level(logging.DEBUG)
    client = new_client(api_key=" sbat_ingest_secret\n")
    answers = iter([Answer(503), Answer(401)])
    endpoint.behave = lambda request: next(answers, None) or receipt(request)
    record(client, 3)
    eventually(lambda: len(endpoint.requests) >= 2)
    assert endpoint.requests[0].headers["authorization"] == "Bearer sbat_ingest_secret"
    eventually(lambda: "[denied]" in caplog.text)
    assert "secret" not in caplog.text
    assert "secret" not in repr(vars(client._recorder._transport._worker))  # type: ignore[union-attr]


def test_every_row_has_a_test() -> None:
    """All 60 of them; row 60, masks that fail, is in masking/test_mask.py."""
    import re

    rows = (
        {60} if Path(__file__).parent.parent.joinpath("masking", "test_mask.py").exists() else set()
    )
    for path in Path(__file__).parent.glob("test_*.py"):
        for first, last in re.findall(r"\b[Rr]ows? (\d+)(?: to (\d+))?", path.read_text()):
            rows.update(range(int(first), int(last or first) + 1))
    assert rows >= set(range(1, 61))
