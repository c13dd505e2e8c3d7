"""How a process ends by itself: nothing is lost, and its end is not held up."""

from __future__ import annotations

import statistics
import time

import pytest

from sessionbat.testing import Answer, Endpoint, receipt, unused_port
from tests.conftest import eventually
from tests.faults.host import (
    Host,
    deliver_the_rest,
    on_disk,
    run,
    stored,
    wait_until_on_disk,
)

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]  # processes of their own


def test_normal_exit_with_10000_queued(endpoint: Endpoint) -> None:
    """Row 1."""
    done = run("record(10_000)", endpoint.url)
    assert (done.returncode, done.stderr) == (0, "")
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 10_000}


@pytest.mark.parametrize("options", ["", "spool=False"])
def test_exit_right_after_a_record_of_an_idle_worker(endpoint: Endpoint, options: str) -> None:
    """Row 1: delivered by the exit itself, though it begins with urllib3 closing its pool."""
    done = run("record(1)\nclient.flush()\nrecord(5)", endpoint.url, options)
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(endpoint) == {"hello": 6}
    assert on_disk() == []


@pytest.mark.slow
def test_burst_of_100000_then_exit(endpoint: Endpoint) -> None:
    """Row 1, at the size that loses most elsewhere."""
    done = run("record(100_000)\nsay(client.stats().dropped)", endpoint.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{}", "")
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 100_000}
    assert on_disk() == []


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("raise ValueError('the host failed')", 1),
        ("thread = threading.Thread(target=sys.exit)\nthread.start()\nthread.join()", 0),
        ("sys.exit(3)", 3),
    ],
    ids=["uncaught-exception", "sys-exit-in-thread", "sys-exit"],
)
def test_sys_exit_in_a_thread_or_an_uncaught_exception(
    endpoint: Endpoint, ending: str, status: int
) -> None:
    """Row 2."""
    done = run(f"record(500)\n{ending}", endpoint.url)
    assert done.returncode == status
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 500}


@pytest.mark.parametrize("up", [True, False], ids=["endpoint-up", "endpoint-down"])
def test_os_exit_after_record(endpoint: Endpoint, up: bool) -> None:
    """Row 3: what is older than the spool's delay of 150 ms is recovered."""
    if not up:
        endpoint.behave = lambda request: Answer(503)
    # Longer than the delay.
    done = run("record(300)\ntime.sleep(0.25)\nos._exit(7)", endpoint.url)
    assert (done.returncode, done.stderr.count("\n") <= 1) == (7, True)
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 300}


@pytest.mark.parametrize("hang", [False, True], ids=["failing", "hanging"])
def test_server_down_at_start_in_the_whole_run_and_at_exit(endpoint: Endpoint, hang: bool) -> None:
    """Row 32: the exit takes 2 s at most, all is on disk, and the next run delivers it."""
    endpoint.behave = lambda request: Answer(503, hang=hang)
    code = "record(400)\nuntil(lambda: client.stats().spooled)\nrecord(100)\nsay(time.monotonic())"
    with Host(code, endpoint.url) as host:
        leaves_at = float(host.hear())
        done = host.end()
    assert time.monotonic() - leaves_at < 4  # 2 s, and a machine under load
    assert done.returncode == 0
    assert "dropped" not in done.stderr
    assert len(on_disk()) == 500
    endpoint.behave = receipt
    endpoint.release()
    assert deliver_the_rest(endpoint.url) == 500
    assert stored(endpoint) == {"hello": 500}
    assert on_disk() == []


TIMED_EXIT = """
import atexit
record(50)
client.flush(0.3)
record(50)
started = time.monotonic()
from sessionbat import _process_end
atexit.unregister(_process_end._end)
_process_end._end(for_good=True)
say(time.monotonic() - started)
say(counts().spooled)
"""


@pytest.mark.slow
def test_exit_with_an_endpoint_that_refuses_or_hangs_is_quick(endpoint: Endpoint) -> None:
    """Row 32: the end of the process is held up by no more than 0.3 s and 0.6 s.

    Those are the figures of an idle machine (``python -m bench.soak --exit``); here ten times that.
    """
    refusing, hanging = [], []
    for _ in range(3):
        seconds, kept = run(TIMED_EXIT, f"http://127.0.0.1:{unused_port()}").stdout.split()
        assert kept == "100"
        refusing.append(float(seconds))
        endpoint.behave = lambda request: Answer(hang=True)
        seconds, kept = run(TIMED_EXIT, endpoint.url).stdout.split()
        assert kept == "100"
        hanging.append(float(seconds))
    assert statistics.median(refusing) <= 3
    assert statistics.median(hanging) <= 3


def test_ctrl_c_during_the_exit_keeps_what_was_not_delivered(endpoint: Endpoint) -> None:
    """Row 10: the exit is cut short, and nothing is lost by that.

    It comes so soon that nothing has been written to disk for its age.
    """
    endpoint.behave = lambda request: Answer(202, delay_s=0.04)
    done = run(
        """
        record(200)
        def interrupt(number, frame):
            say("interrupted")
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.06)
        """,
        endpoint.url,
        options="exit_timeout=60",
        timeout=30,
    )
    assert done.stdout == "interrupted"
    assert len(set(endpoint.acknowledged)) < 200
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 200}


@pytest.mark.parametrize("up", [True, False], ids=["endpoint-up", "endpoint-down"])
def test_recording_while_the_interpreter_shuts_down(endpoint: Endpoint, up: bool) -> None:
    """Row 54: from atexit before and after ours, ``__del__``, a weakref, a daemon thread.

    No thread is started, nothing is raised, and what came before the modules were torn down is
    delivered or on disk.
    """
    if not up:
        endpoint.behave = lambda request: Answer(503)
    done = run(
        """
        import weakref
        class Late:
            def __del__(self):
                record(1, "del")
        class Watched: pass
        late, watched = Late(), Watched()
        weakref.finalize(watched, lambda: record(1, "weakref"))
        atexit.register(lambda: record(1, "atexit"))
        def daemon():
            while True:
                record(1, "daemon")
                time.sleep(0.001)  # the pace of the load
        threading.Thread(target=daemon, daemon=True).start()
        record(5)
        """,
        endpoint.url,
        before="import atexit\natexit.register(lambda: record(3, 'after ours'))",
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "can't start new thread" not in done.stderr
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    counts = stored(endpoint)
    assert (counts["hello"], counts["weakref"], counts["atexit"]) == (5, 1, 1)
    assert counts["after ours"] == 3
    assert counts["daemon"] > 0


def test_an_event_recorded_after_our_exit_while_a_request_hangs_is_kept(
    endpoint: Endpoint,
) -> None:
    """Row 54: the delivery thread is still there then, and will deliver nothing any more."""
    endpoint.behave = lambda request: Answer(hang=True)
    done = run(
        "record(5)",
        endpoint.url,
        before="import atexit\natexit.register(lambda: record(3, 'after ours'))",
    )
    assert done.returncode == 0
    assert len(on_disk()) == 8


def test_every_durable_record_survives_a_kill_at_any_moment(endpoint: Endpoint) -> None:
    """Row 7: with ``durability="sync"`` what a call has returned is on disk."""
    endpoint.behave = lambda request: Answer(503)
    code = "n = 0\nwhile True:\n    record(1)\n    n += 1\n    say(n)"
    with Host(code, endpoint.url, options="durability='sync'") as host:
        for _ in range(100):
            last = host.hear()
        host.kill()
        last = [last, *host.heard()][-1]
    assert len(on_disk()) - int(last) in (0, 1)
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint)["hello"] >= int(last)


def test_an_outage_with_a_restart_inside_it(endpoint: Endpoint) -> None:
    """Row 32, over three processes: two during the outage, one after it."""
    endpoint.behave = lambda request: Answer(503)
    with Host("record(200)\nsay('recorded')\nsys.stdin.readline()", endpoint.url) as first:
        assert first.hear() == "recorded"
        wait_until_on_disk(200)
        first.process.kill()
    run("record(100, 'second')", endpoint.url)
    assert len(on_disk()) == 300
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 200, "second": 100}
    assert on_disk() == []


@pytest.mark.slow
def test_an_outage_of_30_seconds_with_a_restart_inside_it(endpoint: Endpoint) -> None:
    """Row 32 at length: 0 of 15,000 lost."""
    endpoint.behave = lambda request: Answer(503)
    # The pace of the load.
    steady = "for _ in range(1500):\n    record(5)\n    time.sleep(0.01)\nos._exit(0)"
    began = time.monotonic()
    for _ in range(2):
        # Longer than the spool's delay.
        assert run(f"{steady.replace('os._exit', 'time.sleep(0.25); os._exit')}", endpoint.url)
    eventually(lambda: time.monotonic() - began > 30, timeout=40)
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 15_000}
