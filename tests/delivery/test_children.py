"""Children of every form, without a call by the host: what they record is not lost."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sessionbat.spooled import list_spools, read_events
from sessionbat.testing import Answer, Endpoint, receipt, unused_port
from tests.conftest import eventually
from tests.faults.host import deliver_the_rest, on_disk, stored

pytestmark = pytest.mark.timeout(180)

PROGRAM = Path(__file__).parent / "child_forms.py"
SOURCE = Path(__file__).parent.parent.parent / "src"

ENDPOINTS = ("up", "refusing", "hanging")
METHODS = ("fork", "forkserver", "spawn")

#: Forms whose children end by returning, by an exception or by ``sys.exit``: nothing may be lost.
RETURNING = ("process", "executor", "pool")
NEIGHBOURS = (
    "failing", "leaving", "nested", "daemon", "subclass", "outlasting-thread", "thread-pool",
    "finalizers", "recycled-pool", "while-sending",
)  # fmt: skip
#: Packages that are no dependency of anything here; CI has them.
NEEDS = {"loky": "joblib", "billiard-pool": "billiard", "billiard-process": "billiard"}


def cells(
    forms: tuple[str, ...], methods: tuple[str, ...], endpoints: tuple[str, ...]
) -> list[Any]:
    """Every combination; those of a plain fork and an endpoint that is up are in each run."""
    return [
        pytest.param(
            form, method, endpoint, id=f"{form}-{method}-{endpoint}",
            marks=() if (method, endpoint) == ("fork", "up") and form in RETURNING
            else pytest.mark.slow,
        )
        for form in forms for method in methods for endpoint in endpoints
    ]  # fmt: skip


def behave(endpoint: Endpoint, manner: str) -> str:
    """Let the endpoint behave so; the address to send to."""
    if manner == "refusing":
        return f"http://127.0.0.1:{unused_port()}"
    if manner == "hanging":
        endpoint.behave = lambda request: Answer(hang=True)
    return endpoint.url


def environment_of(url: str) -> dict[str, str]:
    paths = os.pathsep.join([str(SOURCE), str(PROGRAM.parent)])
    return {**os.environ, "SESSIONBAT_ENDPOINT": url, "PYTHONPATH": paths}


def require(package: str | None) -> None:
    """Skip where an optional package is absent, but not in CI, which has them all."""
    if package and importlib.util.find_spec(package) is None and not os.environ.get("CI"):
        pytest.skip(f"{package} is not installed")


def run(form: str, method: str, url: str, **settings: str) -> int:
    """Run a program to its end; how many events its processes have recorded."""
    require(NEEDS.get(form))
    done = subprocess.run(
        [sys.executable, str(PROGRAM), form, method],
        env={**environment_of(url), **settings},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "dropped" not in done.stderr
    return int(done.stdout)


def accounted(endpoint: Endpoint) -> Counter[str]:
    """Different events by text that were delivered or wait on disk."""
    taken = set(endpoint.acknowledged)
    events = {
        event["id"]: event
        for request in list(endpoint.requests)
        for event in request.events
        if event["id"] in taken
    }
    for spooled in list_spools():
        events.update((event["id"], event) for event in map(json.loads, read_events(spooled)))
    return Counter(event["observation"]["input"] for event in events.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "method", "manner"),
    [
        *cells(RETURNING, METHODS, ENDPOINTS),
        *cells(("loky",), ("spawn",), ENDPOINTS),
        *cells(("billiard-process",), ("fork",), ENDPOINTS),
        *cells(NEIGHBOURS, ("fork",), ENDPOINTS),
        *cells(("failing", "outlasting-thread", "nested"), ("forkserver", "spawn"), ("up",)),
    ],
)
def test_a_child_that_ends_by_returning_loses_nothing(
    endpoint: Endpoint, form: str, method: str, manner: str
) -> None:
    recorded = run(form, method, behave(endpoint, manner))
    assert accounted(endpoint) == {"child": recorded}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["process", "pool", "outlasting-thread"])
def test_without_a_spool_a_child_delivers_before_it_ends(endpoint: Endpoint, form: str) -> None:
    recorded = run(form, "fork", endpoint.url, SPOOL="no")
    assert stored(endpoint) == {"child": recorded}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "method", "manner"),
    [
        *cells(("terminated-pool", "terminated-processes"), METHODS, ENDPOINTS),
        *cells(("forked",), ("fork",), ENDPOINTS),
    ],
)
def test_a_child_that_is_killed_loses_at_most_what_it_recorded_last(
    endpoint: Endpoint, form: str, method: str, manner: str
) -> None:
    recorded = run(form, method, behave(endpoint, manner))
    early = 2 if form == "terminated-pool" else 3
    found = accounted(endpoint)
    assert found["early"] == early
    assert found["last"] <= recorded - early


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "method", "manner"),
    [
        *cells(("terminated-pool",), METHODS, ENDPOINTS),
        *cells(("forked", "billiard-pool"), ("fork",), ENDPOINTS),
    ],
)
def test_a_child_that_is_killed_loses_nothing_with_sync_durability(
    endpoint: Endpoint, form: str, method: str, manner: str
) -> None:
    recorded = run(form, method, behave(endpoint, manner), DURABILITY="sync")
    assert accounted(endpoint).total() == recorded


@pytest.mark.slow
def test_the_next_process_delivers_what_children_left(endpoint: Endpoint) -> None:
    recorded = run("process", "fork", behave(endpoint, "hanging"))
    endpoint.behave = receipt
    endpoint.release()
    assert deliver_the_rest(endpoint.url) == recorded
    assert stored(endpoint) == {"child": recorded}
    assert on_disk() == []


@contextlib.contextmanager
def deployed(*command: str, url: str, cwd: Path) -> Any:
    """Run a service for a block, and tell it to stop as a deployment does."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env=environment_of(url), cwd=cwd, start_new_session=True
    )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answer(port: int) -> bytes:
    """One answer of the application; empty while nothing listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.makefile("rb").read()
    except ConnectionError:
        return b""


@pytest.mark.slow
@pytest.mark.parametrize("manner", ENDPOINTS)
def test_a_gunicorn_worker_that_is_told_to_stop_loses_nothing(
    endpoint: Endpoint, manner: str, tmp_path: Path
) -> None:
    require("gunicorn")
    port = unused_port()
    with deployed(
        "gunicorn", "--preload", "--workers", "2", "--log-level", "error", "--no-control-socket",
        "--bind", f"127.0.0.1:{port}", "--worker-tmp-dir", str(tmp_path),
        "child_work:application", url=behave(endpoint, manner), cwd=tmp_path,
    ):  # fmt: skip
        eventually(lambda: answer(port), 20)
        for _ in range(4):
            assert answer(port).endswith(b"done")
    assert accounted(endpoint) == {"child": 15}


JOBS = """
import child_work
from celery import Celery
queue = Celery("jobs")
queue.conf.update(broker_url="filesystem://", broker_transport_options={
    "data_folder_in": "messages", "data_folder_out": "messages",
    "control_folder": "control", "polling_interval": 0.05})
work = queue.task(child_work.work)
"""


@pytest.mark.slow
@pytest.mark.parametrize("manner", ENDPOINTS)
def test_a_celery_child_that_is_recycled_loses_nothing(
    endpoint: Endpoint, manner: str, tmp_path: Path
) -> None:
    require("celery")
    (tmp_path / "messages").mkdir()
    (tmp_path / "jobs.py").write_text(JOBS)
    url = behave(endpoint, manner)
    subprocess.run(
        [sys.executable, "-c", "import jobs; [jobs.work.delay(n) for n in range(6)]"],
        env=environment_of(url), cwd=tmp_path, timeout=50, check=True,
    )  # fmt: skip
    with deployed(
        "celery", "-A", "jobs.queue", "worker", "--concurrency", "1", "--pool", "prefork",
        "--max-tasks-per-child", "2", "--without-gossip", "--without-mingle",
        "--without-heartbeat", "--loglevel", "error", url=url, cwd=tmp_path,
    ):  # fmt: skip
        eventually(lambda: accounted(endpoint).total() == 18, 30)
    assert accounted(endpoint) == {"child": 18}
