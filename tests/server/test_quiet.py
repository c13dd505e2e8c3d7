"""What the server never does: speak to anybody it was not asked by, or of what it was given."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sessionbat.server.access.keys import new_key
from sessionbat.server.store.opening import open_store
from tests.server.access.test_login import Browser
from tests.server.test_serving import free_port, wait_until_healthy, wire_to
from tests.server.wire import Wire, event

# Ends the process, loudly, when it looks up a name or connects to anything but this machine.
SERVE = """
import os, sys
import logging
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
ALLOWED = {"127.0.0.1", "::1", "localhost", None, ""}
def watch(name, arguments):
    if name == "socket.getaddrinfo" and arguments[0] not in ALLOWED:
        forbid(name, arguments)
    if name in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in ALLOWED:
            forbid(name, arguments)
    if name in ("socket.gethostbyname", "socket.gethostbyaddr", "subprocess.Popen", "os.system"):
        forbid(name, arguments)
def forbid(name, arguments):
    print("FORBIDDEN", name, arguments, flush=True)
    os._exit(77)
sys.addaudithook(watch)
from sessionbat.server.serving import serve
from sessionbat.server.settings import Settings
serve(Settings(port=int(sys.argv[1]), store_url=sys.argv[2]))
"""

SECRET = "s3cret"


@contextmanager
def watched(directory: Path, *before: str) -> Iterator[tuple[subprocess.Popen[str], Wire]]:
    """Start a server that is watched and logs all there is to log; kill it when the block ends."""
    port = free_port()
    store = f"sqlite:///{directory / 'store.db'}"
    process = subprocess.Popen(
        [*before, sys.executable, "-c", SERVE, str(port), store],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # strace ends alone when it is killed, and leaves what it traced
    )
    try:
        wire = wire_to(port)
        wait_until_healthy(wire)
        yield process, wire
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def make_keys(directory: Path) -> list[str]:
    store = open_store(f"sqlite:///{directory / 'store.db'}")
    made = [new_key(*each) for each in MADE]
    for _, stored in made:
        store.add_key(stored)
    store.close()
    return [key for key, _ in made]


MADE: list[Any] = [("ingest", "a", SECRET), ("read", None, SECRET), ("admin", None, SECRET)]


def use_everything(wire: Wire, keys: list[str]) -> list[str]:
    """Do what can be done to a server, right and wrong; give the cookies that it set."""
    browser, cookies = Browser(wire), list[str]()
    for key in [*keys, new_key("admin", None, "")[0], f"sbat_{SECRET}"]:
        client = wire.with_key(key)
        client.send(event(app="a", observation__input=SECRET, context={SECRET: SECRET}))
        client.send([event("e2", app=SECRET), event("e3", app="a", session_id=SECRET)])
        client.send(f"{SECRET}{{".encode())
        for path in (
            *("/sessions", f"/session?app=a&id={SECRET}", "/sessions.json", f"/{SECRET}", "/"),
            *(f"/api/v1/search?q={SECRET}", "/api/v1/statistics", f"/api/v1/sessions?{SECRET}=1"),
            *(f"/api/v1/events?app=a&session_id={SECRET}", f"/static/{SECRET}", "/static/main.js"),
        ):
            client.get(path)
        browser.cookies.clear()
        browser.log_in(key, f"/login?next=/session?id={SECRET}")
        browser.get(f"/sessions?app={SECRET}")
        cookies += browser.cookies.values()
    wire.request("GET", f"/{SECRET}", headers={"Host": f"{SECRET}.example"})
    return cookies


def end(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    return output


@pytest.mark.slow
def test_the_server_opens_no_connection_and_says_nothing_secret(tmp_path: Path) -> None:
    with watched(tmp_path) as (process, wire):
        wire.send(event(app="a", observation__input=SECRET))  # while it is open
        keys = make_keys(tmp_path)
        cookies = use_everything(wire, keys)
        output = end(process)
    assert process.returncode == 0, output
    assert "FORBIDDEN" not in output
    assert "[bad-key]" in output
    assert SECRET not in output
    for given in (*keys, *cookies):
        assert given[-20:] not in output


def test_the_watch_that_the_test_above_relies_on_does_watch() -> None:
    code = SERVE.partition("from sessionbat")[0] + "import socket\n"
    for forbidden in (
        "socket.create_connection(('192.0.2.1', 9), timeout=0.01)",
        "socket.getaddrinfo('example.com', 80)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))",
    ):
        done = subprocess.run(
            [sys.executable, "-c", code + forbidden], capture_output=True, text=True, check=False
        )
        assert (done.returncode, "FORBIDDEN" in done.stdout) == (77, True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_system_call_connects_either(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    tracing = ("strace", "-f", "-qq", "-e", "trace=bind,connect,sendto,sendmsg", "-o", str(log))
    if subprocess.run(["strace", "-qq", "-o", str(log), "true"], check=False).returncode != 0:
        pytest.skip("strace may not trace here")
    with watched(tmp_path, *tracing) as (process, wire):
        use_everything(wire, make_keys(tmp_path))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (server,) = children
        subprocess.run(["kill", "-TERM", server], check=True)
        process.communicate(timeout=20)
    calls = log.read_text()
    assert "bind(" in calls  # so that the trace is known to see something
    assert [line for line in calls.splitlines() if "connect(" in line] == []
    outwards = re.compile(r"send(to|msg)\(.*sin6?_(addr|port)")
    assert [line for line in calls.splitlines() if outwards.search(line)] == []
