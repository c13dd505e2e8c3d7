"""Real processes: exit, fork at any moment, what is imported when."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

from sessionbat.testing import Answer, Endpoint, receipt

pytestmark = pytest.mark.slow  # processes of their own

PREAMBLE = """
import os, sys, time
from sessionbat import SessionBat
client = SessionBat(app="test-app", endpoint=sys.argv[1], OPTIONS)
interaction = client.session(session_id="s").interaction()
def record(count, text="hello"):
    for n in range(count):
        interaction.llm(model="m", input=text, output=str(n))
"""


def script(code: str, options: str = "") -> str:
    return PREAMBLE.replace("OPTIONS", options) + textwrap.dedent(code)


def run(code: str, url: str, options: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script(code, options), url],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def stored(endpoint: Endpoint) -> Counter[str]:
    """How many different events of each text arrived."""
    events = {event["id"]: event for request in endpoint.requests for event in request.events}
    ids = set(endpoint.acknowledged)
    return Counter(e["observation"]["input"] for i, e in events.items() if i in ids)


def test_a_normal_exit_delivers_20000_events(endpoint: Endpoint) -> None:
    # Nothing may be left for a later process, however busy this machine is.
    done = run("record(20_000)", endpoint.url, "spool=False, exit_timeout=30")
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(endpoint) == {"hello": 20_000}


@pytest.mark.parametrize(
    ("ending", "status"),
    [("sys.exit(3)", 3), ("raise ValueError('the host failed')", 1)],
)
def test_any_python_exit_delivers(endpoint: Endpoint, ending: str, status: int) -> None:
    done = run(f"record(500)\n{ending}", endpoint.url)
    assert done.returncode == status
    assert stored(endpoint) == {"hello": 500}


@pytest.mark.parametrize("hang", [False, True])
def test_without_a_spool_an_exit_during_an_outage_ends_in_time_and_says_what_was_lost(
    endpoint: Endpoint, hang: bool
) -> None:
    endpoint.behave = lambda request: Answer(503, hang=hang)
    started = time.monotonic()
    done = run("record(100)", endpoint.url, options="spool=False")
    assert time.monotonic() - started < 20
    assert "dropped 100 events" in done.stderr


@pytest.mark.parametrize("delay_ms", [0, 1, 3, 7, 15, 30, 60, 100])
def test_a_child_forked_soon_after_the_first_record_delivers_its_own(
    endpoint: Endpoint, delay_ms: int
) -> None:
    done = run(
        f"""
        record(150, "parent")
        time.sleep({delay_ms} / 1000)  # the moment of the fork
        pid = os.fork()
        if pid == 0:
            record(150, "child")
            os._exit(0 if client.flush(10) else 3)
        record(150, "parent")
        result = client.flush(10)
        _, status = os.waitpid(pid, 0)
        sys.exit(os.waitstatus_to_exitcode(status) or (0 if result else 4))
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(endpoint) == {"parent": 300, "child": 150}
    assert len(endpoint.acknowledged) == 450


def test_forking_again_and_again_under_load_hangs_nobody(endpoint: Endpoint) -> None:
    done = run(
        """
        import threading
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                record(20, "parent")
                time.sleep(0.001)  # the pace of the load
        threads = [threading.Thread(target=busy) for _ in range(4)]
        [thread.start() for thread in threads]
        failed = 0
        for _ in range(12):
            pid = os.fork()
            if pid == 0:
                record(10, "child")
                os._exit(0 if client.flush(10) else 3)
            _, status = os.waitpid(pid, 0)
            failed += status != 0
        stop.set()
        [thread.join() for thread in threads]
        client.flush(10)
        stats = client.stats()
        print(stats.recorded)
        sys.exit(failed or (0 if stats.delivered == stats.recorded else 5))
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(endpoint) == {"parent": int(done.stdout), "child": 120}


def test_a_child_that_ends_normally_delivers_and_leaves_the_parents_events_alone(
    endpoint: Endpoint,
) -> None:
    done = run(
        """
        record(100, "parent")
        pid = os.fork()
        if pid == 0:
            assert client.stats().recorded == 0
            record(50, "child")
            sys.exit(0)
        _, status = os.waitpid(pid, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(endpoint.acknowledged) == 150
    assert stored(endpoint) == {"parent": 100, "child": 50}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_deliver(endpoint: Endpoint, method: str, tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(
        "import multiprocessing, sys\n"
        "from sessionbat import SessionBat\n"
        "def work(url, number):\n"
        "    with SessionBat(app='test-app', endpoint=url) as client:\n"
        "        interaction = client.session(session_id=number).interaction()\n"
        "        [interaction.llm(model='m', input='child') for _ in range(100)]\n"
        "if __name__ == '__main__':\n"
        "    parent = SessionBat(app='test-app', endpoint=sys.argv[1])\n"
        "    parent.session().interaction().llm(model='m', input='parent')\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    jobs = [context.Process(target=work, args=(sys.argv[1], n)) for n in range(3)]\n"
        "    [job.start() for job in jobs]\n"
        "    [job.join() for job in jobs]\n"
        "    sys.exit(max(job.exitcode for job in jobs))\n"
    )
    done = subprocess.run([sys.executable, str(job), endpoint.url], timeout=30, check=False)
    assert done.returncode == 0
    assert stored(endpoint) == {"parent": 1, "child": 300}


def test_the_delivery_thread_imports_nothing(endpoint: Endpoint) -> None:
    """A fork during an import in a thread leaves the child a lock that nobody releases."""
    done = run(
        """
        before = set(sys.modules)
        record(100)
        client.flush()
        record(2000)
        client.flush()
        print(sorted(set(sys.modules) - before))
        """,
        endpoint.url,
    )
    assert done.stdout.strip() == "[]"


def test_ctrl_c_ends_a_flush_at_once_and_keeps_the_events(endpoint: Endpoint) -> None:
    endpoint.behave = lambda request: Answer(hang=True)
    code = script(
        """
        record(10)
        print("flushing", flush=True)
        try:
            client.flush(None)
        except KeyboardInterrupt:
            print(client.stats().pending + client.stats().spooled, flush=True)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, endpoint.url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "flushing\n"
    time.sleep(0.1)  # until the flush waits, which cannot be seen from here
    interrupted = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "10\n"
    assert time.monotonic() - interrupted < 1
    endpoint.behave = receipt
    process.wait(20)


def test_recording_in_a_signal_handler_that_interrupts_recording_loses_nothing(
    endpoint: Endpoint,
) -> None:
    done = run(
        """
        import signal
        signal.signal(signal.SIGALRM, lambda *_: record(1, "handler"))
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        record(20_000)
        signal.setitimer(signal.ITIMER_REAL, 0)
        result = client.flush(20)
        stats = client.stats()
        print(stats.recorded)
        sys.exit(0 if result and stats.delivered == stats.recorded else 5)
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    counts = stored(endpoint)
    assert counts["hello"] == 20_000
    assert counts["handler"] == int(done.stdout) - 20_000 > 0


def test_recording_while_the_interpreter_shuts_down_raises_nothing(endpoint: Endpoint) -> None:
    done = run(
        """
        import atexit
        class Late:
            def __del__(self):
                record(1, "del")
        late = Late()
        sys.modules["late"] = late
        atexit.register(lambda: record(1, "atexit"))
        record(5)
        """,
        endpoint.url,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert stored(endpoint)["hello"] == 5
