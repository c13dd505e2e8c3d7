"""Forks and child processes: everybody delivers their own, and hangs nowhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import sessionbat
from sessionbat.testing import Answer, Endpoint, receipt, unused_port
from tests.conftest import eventually
from tests.faults.host import Host, deliver_the_rest, on_disk, run, stored

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]  # processes of their own


def test_fork_with_items_queued(endpoint: Endpoint) -> None:
    """Row 11: the parent sends its own once; the child begins with nothing and delivers its own."""
    endpoint.behave = lambda request: Answer(503)
    with Host(
        """
        record(100, "parent")
        until(lambda: client.stats().spooled)
        record(100, "parent")
        pid = os.fork()
        if pid == 0:
            assert client.stats()[:5] == (0, 0, 0, 0, {}), client.stats()
            record(50, "child")
        say("forked")
        while not client.flush(1):
            pass
        if pid == 0:
            os._exit(0 if counts().delivered == 50 else 3)
        _, status = os.waitpid(pid, 0)
        sys.exit(status or (0 if counts().delivered == 200 else 4))
        """,
        endpoint.url,
    ) as host:
        assert (host.hear(), host.hear()) == ("forked", "forked")
        endpoint.behave = receipt
        done = host.end()
    assert done.returncode == 0, done.stderr
    assert stored(endpoint) == {"parent": 200, "child": 50}
    assert len(endpoint.acknowledged) == 250
    assert on_disk() == []


@pytest.mark.parametrize("lock", ["queue", "spool", "keeper", "ledger-of-a-closed-client"])
def test_fork_while_another_thread_holds_our_lock(endpoint: Endpoint, lock: str) -> None:
    """Row 12: the child's locks are new."""
    done = run(
        f"""
        worker = client._recorder._transport._worker
        other = SessionBat(app="test-app", endpoint=sys.argv[1])
        other.session().interaction().llm(input="other")
        other.close()
        record(10, "parent")
        locks = {{
            "queue": worker.queue.lock,
            "spool": worker._keeper.spool._lock,
            "keeper": worker._keeper._writing,
            "ledger-of-a-closed-client": worker.queue.lock,
        }}
        held, go = threading.Event(), threading.Event()
        def hold():
            with locks[{lock!r}]:
                held.set()
                go.wait(20)
        threading.Thread(target=hold).start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            import faulthandler
            faulthandler.dump_traceback_later(15, exit=True)
            assert other.stats()[:2] == (0, 0), other.stats()
            other.close()
            record(20, "child")
            os._exit(0 if client.flush(10) else 3)
        go.set()
        _, status = os.waitpid(pid, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(endpoint) == {"parent": 10, "child": 20, "other": 1}


def test_fork_while_a_thread_holds_the_lock_of_the_connections(endpoint: Endpoint) -> None:
    """Row 12: urllib3 empties its pools at the end of the child, which ends all the same."""
    done = run(
        """
        record(10, "parent")
        client.flush()
        manager = client._recorder._transport._worker._sender._poster._pool
        [pool] = manager.pools._container.values()
        held, go = threading.Event(), threading.Event()
        def hold():
            with pool.pool.mutex:
                held.set()
                go.wait(20)
        threading.Thread(target=hold).start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            import faulthandler
            faulthandler.dump_traceback_later(15, exit=True)
            record(20, "child")
            sys.exit(0)
        go.set()
        _, status = os.waitpid(pid, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(endpoint) == {"parent": 10, "child": 20}


@pytest.mark.parametrize(
    "transport", ["MemoryTransport()", "StdoutTransport(open(os.devnull, 'w'))"]
)
def test_fork_while_another_thread_records_into_a_transport_for_tests(transport: str) -> None:
    """Row 12, for the transports that have no worker."""
    done = run(
        """
        import faulthandler
        lock = getattr(client._recorder._transport, "_lock", client._recorder.ledger.lock)
        held, go = threading.Event(), threading.Event()
        def hold():
            with client._recorder.ledger.lock, lock:
                held.set()
                go.wait(20)
        threading.Thread(target=hold).start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            faulthandler.dump_traceback_later(10, exit=True)
            record(20)
            client.flush()
            os._exit(0 if client.stats().delivered == 20 else 3)
        go.set()
        _, status = os.waitpid(pid, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
        "http://127.0.0.1:9",
        options=f"transport={transport}",
        before="from sessionbat.transports import MemoryTransport, StdoutTransport",
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("up", [True, False], ids=["endpoint-up", "endpoint-down"])
def test_fork_at_any_moment_of_the_workers_life(endpoint: Endpoint, up: bool) -> None:
    """Row 12: at 40 moments, while it starts, connects, sends, spools, adopts or waits."""
    if not up:
        endpoint.behave = lambda request: Answer(503, {"Retry-After": "0"})
    done = run(
        """
        import faulthandler
        children = []
        for moment in range(40):
            record(20, "parent")
            time.sleep((moment % 20) * 0.01)  # the moment of the fork
            pid = os.fork()
            if pid == 0:
                faulthandler.dump_traceback_later(40, exit=True)
                record(20, "child")
                client.flush(0.05)
                sys.exit(0)
            children.append(pid)
        failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in children)
        sys.exit(failed)
        """,
        endpoint.url,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"parent": 800, "child": 800}
    assert on_disk() == []


JOB = """
import sys
from sessionbat import SessionBat
def work(url, number):
    with SessionBat(app="test-app", endpoint=url) as client:
        interaction = client.session(session_id=number).interaction()
        [interaction.llm(model="m", input="child") for _ in range(100)]
if __name__ == "__main__":
    import multiprocessing
    parent = SessionBat(app="test-app", endpoint=sys.argv[1])
    parent.session().interaction().llm(model="m", input="parent")
    context = multiprocessing.get_context(sys.argv[2])
    jobs = [context.Process(target=work, args=(sys.argv[1], n)) for n in range(2)]
    [job.start() for job in jobs]
    [job.join() for job in jobs]
    sys.exit(max(job.exitcode for job in jobs))
"""


@pytest.mark.parametrize(
    "method",
    [
        "fork",
        pytest.param("spawn", marks=pytest.mark.slow),
        pytest.param("forkserver", marks=pytest.mark.slow),
    ],
)
def test_multiprocessing(endpoint: Endpoint, method: str, tmp_path: Path) -> None:
    """Row 13."""
    job = tmp_path / "job.py"
    job.write_text(JOB)
    done = subprocess.run([sys.executable, job, endpoint.url, method], timeout=60, check=False)
    assert done.returncode == 0
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"parent": 1, "child": 200}


@pytest.mark.slow
def test_gunicorn_that_loads_the_application_before_it_forks(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    """Row 13: ``gunicorn --preload``; a request that flushes does not hang."""
    pytest.importorskip("gunicorn")
    (tmp_path / "web.py").write_text(
        textwrap.dedent(f"""
        from sessionbat import SessionBat
        client = SessionBat(app="test-app", endpoint={endpoint.url!r})
        interaction = client.session(session_id="s").interaction()
        interaction.llm(model="m", input="while loading")
        client.flush()
        def app(environ, start_response):
            interaction.llm(model="m", input="request")
            flushed = client.flush(10)
            start_response("200 OK" if flushed else "500 Not Flushed", [])
            return [b"done"]
        """)
    )
    port = unused_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-b", f"127.0.0.1:{port}",
         "--log-level", "error", "web:app"],
        cwd=tmp_path, env=environment(),
    )  # fmt: skip
    try:
        eventually(lambda: _status(port), timeout=40)
        statuses = {_status(port) for _ in range(10)}
    finally:
        server.terminate()
        server.wait(30)
    assert statuses == {200}
    deliver_the_rest(endpoint.url)
    assert stored(endpoint)["request"] == 11
    assert stored(endpoint)["while loading"] == 1


def environment() -> dict[str, str]:
    """For a process with another working directory: where sessionbat is, in full."""
    return {**os.environ, "PYTHONPATH": str(Path(sessionbat.__file__).parent.parent)}


def _status(port: int) -> int:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.slow
def test_celery_with_forked_workers(endpoint: Endpoint, tmp_path: Path) -> None:
    """Row 13: tasks of prefork workers, over a broker of files."""
    pytest.importorskip("celery")
    (tmp_path / "jobs.py").write_text(
        textwrap.dedent(f"""
        import celery
        from sessionbat import SessionBat
        app = celery.Celery(broker="filesystem://")
        app.conf.broker_transport_options = {{
            "data_folder_in": {str(tmp_path / "q")!r}, "data_folder_out": {str(tmp_path / "q")!r},
            "control_folder": {str(tmp_path / "c")!r},
        }}
        client = SessionBat(app="test-app", endpoint={endpoint.url!r})
        interaction = client.session(session_id="s").interaction()
        interaction.llm(model="m", input="while loading")
        @app.task
        def work():
            interaction.llm(model="m", input="task")
            client.flush(10)
        """)
    )
    (tmp_path / "q").mkdir()
    (tmp_path / "c").mkdir()
    celery = [sys.executable, "-m", "celery", "-A", "jobs"]
    worker = subprocess.Popen(
        [*celery, "worker", "-P", "prefork", "-c", "2", "-l", "error", "--without-gossip",
         "--without-mingle"],
        cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        code = "import jobs; [jobs.work.delay() for _ in range(20)]"
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=True, timeout=60
        )
        eventually(lambda: stored(endpoint)["task"] == 20, timeout=60)
    finally:
        worker.terminate()
        worker.wait(30)


def test_uwsgi() -> None:
    """Row 13: uWSGI forks in C and tells Python by the same hooks as ``os.fork``."""
    if shutil.which("uwsgi") is None:
        pytest.skip("uwsgi is not installed: it has no wheel and builds from C")
    pytest.skip("uwsgi: forks through the hooks that the rows above test")


def test_a_child_that_ends_with_os_exit(endpoint: Endpoint) -> None:
    """Row 14: the parent finds what the child left on disk, at its next look."""
    done = run(
        """
        from sessionbat._delivery import keeper
        keeper.ADOPT_EVERY_S = 0.1
        record(10, "parent")
        client.flush(10)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            import sessionbat._delivery.posting as posting
            posting.Poster.post = lambda *_: posting.Outcome(posting.Verdict.AGAIN, "network")
            record(30, "child")
            until(lambda: client.stats().spooled >= 30)
            os._exit(9)
        os.waitpid(pid, 0)
        deadline = time.monotonic() + 20
        while client.stats().adopted < 30 and time.monotonic() < deadline:
            record(1, "parent")
            client.flush(5)
            time.sleep(0.05)  # between two looks
        say(client.stats().adopted)
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stdout) == (0, "30"), done.stderr
    assert stored(endpoint)["child"] == 30
    assert on_disk() == []


def test_subprocesses_of_a_threaded_app(endpoint: Endpoint) -> None:
    """Row 15: no effect on delivery, and they inherit neither sockets nor locks of ours."""
    endpoint.behave = lambda request: Answer(503)
    done = run(
        """
        import subprocess
        record(50)
        until(lambda: client.stats().spooled >= 50)
        code = "import os; print(*[os.readlink(f'/proc/self/fd/{fd}') for fd in range(3, 40) "
        code += "if os.path.exists(f'/proc/self/fd/{fd}')])"
        for closes in (True, False):
            out = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, close_fds=closes
            )
            assert "socket" not in out.stdout and "segment" not in out.stdout, out.stdout
        record(50)
        """,
        endpoint.url,
    )
    assert done.returncode == 0, done.stderr
    endpoint.behave = receipt
    assert deliver_the_rest(endpoint.url) == 100
