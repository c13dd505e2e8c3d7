"""``sessionbat serve`` in a process of its own, with keys, and what it takes of the machine."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sessionbat.server.access.keys import new_key
from sessionbat.server.records import KeyKind
from sessionbat.server.store.opening import open_store
from tests.attack.bodies import APP, NEIGHBOUR
from tests.conftest import eventually

#: Less than a minute's attack stores, so that retention has to delete.
MAX_SIZE_MB = 24


@dataclass
class Server:
    port: int
    pid: int
    directory: Path
    #: Keys by kind and app.
    keys: dict[tuple[KeyKind, str], str]
    peak_rss: int = 0
    peak_disk: int = 0

    def __post_init__(self) -> None:
        self._looking = threading.Lock()
        self._recent_peak = 0

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def disk_bytes(self) -> int:
        return sum(each.stat().st_size for each in self.directory.glob("store.db*"))

    def store_bytes(self) -> int:
        """The file without its log, which retention goes by."""
        return (self.directory / "store.db").stat().st_size

    def begin_peak(self) -> int:
        """Give the highest memory since the last call, where the kernel allows to begin anew."""
        with self._looking:
            self._look()
            peak, self._recent_peak = self._recent_peak, 0
            with suppress(OSError):
                Path(f"/proc/{self.pid}/clear_refs").write_text("5")
            return peak

    def look(self) -> None:
        """Note what it takes now, if that is the most so far."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        with suppress(OSError, StopIteration):
            self.peak_disk = max(self.peak_disk, self.disk_bytes())
            status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            high = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
            self._recent_peak = max(self._recent_peak, high * 1024)
            self.peak_rss = max(self.peak_rss, self._recent_peak)


@contextmanager
def serving(directory: Path) -> Iterator[Server]:
    url = f"sqlite:///{directory / 'store.db'}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    keys = _make_keys(url)
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sessionbat", "serve", "--port", str(port), "--store", url,
             "--max-size", f"{MAX_SIZE_MB}MB"],
            stdout=log, stderr=log,
        )  # fmt: skip
        over = threading.Event()
        server = Server(port, process.pid, directory, keys)
        watch = threading.Thread(target=_watch, args=(server, over))
        try:
            eventually(lambda: is_healthy(port), timeout=30)
            watch.start()
            yield server
        finally:
            over.set()
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            watch.join()


def is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _make_keys(url: str) -> dict[tuple[KeyKind, str], str]:
    keys: dict[tuple[KeyKind, str], str] = {}
    store = open_store(url)
    for app in (APP, NEIGHBOUR):
        for kind in ("ingest", "read"):
            key, stored = new_key(kind, app, "")
            store.add_key(stored)
            keys[kind, app] = key
    store.close()
    return keys


def _watch(server: Server, over: threading.Event) -> None:
    while not over.wait(0.1):
        server.look()
