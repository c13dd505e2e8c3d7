"""Servers that end, reload and patch: uvicorn ``--reload`` and ``--workers``, gunicorn's gevent."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from sessionbat.testing import Answer, Endpoint, receipt, unused_port
from tests.conftest import eventually
from tests.faults.host import deliver_the_rest, on_disk, run, stored
from tests.world import need

ROOT = Path(__file__).parent.parent.parent
ENDPOINT = {"endpoint-up": Answer, "endpoint-refuses": Answer(503), "hangs": Answer(hang=True)}

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]  # servers of their own


@contextlib.contextmanager
def serving(port: int, directory: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for a block, and end it with SIGTERM as a deployment does."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(directory)])},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: answers(port), 60)
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def get(port: int, path: str) -> str | None:
    """Ask until somebody answers: between two processes of a reload nobody may."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            urlopen(f"http://127.0.0.1:{port}/{path}", timeout=20) as answer,
        ):
            return str(answer.read().decode())
        time.sleep(0.05)  # between two looks
    return None


ASGI = """
from sessionbat import SessionBat
VERSION = "one"
client = SessionBat(app="test-app", endpoint={url!r})
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        {at_shutdown}
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    client.session(session_id="s").interaction().llm(model="m", input=VERSION)
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": VERSION.encode()}})
"""


@pytest.mark.parametrize("at_shutdown", ["await client.aflush(1)", "client.close(0.5)"])
@pytest.mark.parametrize("up", [True, False], ids=["endpoint-up", "endpoint-down"])
def test_a_reload_loses_nothing(
    endpoint: Endpoint, tmp_path: Path, up: bool, at_shutdown: str
) -> None:
    """uvicorn ends the old process by SIGTERM once its lifespan is over: that is where to wait."""
    if not up:
        endpoint.behave = lambda request: Answer(503)
    program = ASGI.format(url=endpoint.url, at_shutdown=at_shutdown)
    source, port, asked = tmp_path / "reloaded.py", unused_port(), Counter[str | None]()
    source.write_text(program)
    with serving(port, tmp_path, "uvicorn", "--reload", "--port", str(port), "reloaded:app"):
        for version in ("one", "two", "three"):
            source.write_text(program.replace("one", version))
            while asked[version] < 20:
                asked[get(port, "")] += 1
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == asked
    assert on_disk() == []


@pytest.mark.parametrize("up", [True, False], ids=["endpoint-up", "endpoint-down"])
def test_uvicorn_with_two_workers(endpoint: Endpoint, tmp_path: Path, up: bool) -> None:
    if not up:
        endpoint.behave = lambda request: Answer(503)
    port = unused_port()
    program = ASGI.format(url=endpoint.url, at_shutdown="await client.aflush(1)")
    (tmp_path / "worked.py").write_text(program)
    options = ["--workers", "2", "--port", str(port), "worked:app"]
    with serving(port, tmp_path, "uvicorn", *options):
        for _ in range(40):
            assert get(port, "") == "one"
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"one": 40}


WSGI = """
from sessionbat import SessionBat
client = SessionBat(app="test-app", endpoint={url!r})
client.session(session_id="start").interaction().llm(model="m", input="start")
def app(environ, start_response):
    with client.session(session_id=environ["PATH_INFO"].strip("/")) as session:
        from sessionbat import current_session
        import gevent
        gevent.sleep(0.01)  # another request runs meanwhile
        assert current_session() is session
        current_session().interaction().llm(model="m", input="request")
    start_response("200 OK", [])
    return [b"yes"]
"""


@pytest.mark.parametrize("behaviour", ENDPOINT)
@pytest.mark.parametrize("preload", [True, False], ids=["preload", "no-preload"])
def test_a_gevent_worker_of_gunicorn(
    endpoint: Endpoint, tmp_path: Path, preload: bool, behaviour: str
) -> None:
    """With ``--preload`` the worker patches after the client was made, recorded and forked."""
    need("gevent")
    need("gunicorn")
    answer = ENDPOINT[behaviour]
    if isinstance(answer, Answer):
        endpoint.behave = lambda request: answer
    port = unused_port()
    (tmp_path / "green.py").write_text(WSGI.format(url=endpoint.url))
    options = ["-k", "gevent", "--workers", "2", "--bind", f"127.0.0.1:{port}", "--log-level"]
    options += ["error", "--no-control-socket", "green:app", *(["--preload"] if preload else [])]
    with serving(port, tmp_path, "gunicorn", *options) as server:
        for number in range(40):
            assert get(port, f"thread_{number}") == "yes"
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        server.wait(60)
        assert time.monotonic() - began < 15  # gunicorn's own patience is 30 s
    endpoint.behave = receipt
    endpoint.release()
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"start": 1 if preload else 2, "request": 40}


GREEN = {
    "gevent": "from gevent import monkey\nmonkey.patch_all()\nimport gevent as green\n"
    "def wait(g): g.join()",
    "eventlet": "import eventlet\neventlet.monkey_patch()\nimport eventlet as green\n"
    "def wait(g): g.wait()",
}


@pytest.mark.parametrize("behaviour", ENDPOINT)
@pytest.mark.parametrize("library", GREEN)
def test_a_client_that_is_made_before_the_patching(
    endpoint: Endpoint, library: str, behaviour: str
) -> None:
    """Before its first event; after it, what is running goes on in a real thread."""
    need(library)
    answer = ENDPOINT[behaviour]
    if isinstance(answer, Answer):
        endpoint.behave = lambda request: answer
    done = run(
        f"""
        import warnings
        warnings.simplefilter("ignore")
        {GREEN[library].replace(chr(10), chr(10) + " " * 8)}
        ticks = []
        def tick():
            while True:
                ticks.append(1)
                green.sleep(0.01)  # others run meanwhile
        green.spawn(tick)
        for g in [green.spawn(record, 50) for _ in range(4)]:
            wait(g)
        before = len(ticks)
        client.flush({10 if answer is Answer else 1})
        counts()
        say(len(ticks) - before > 10 or {answer is Answer})  # the hub went on during the flush
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stdout) == (0, "True"), done.stderr
    assert "Traceback" not in done.stderr
    endpoint.behave = receipt
    endpoint.release()
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 200}
