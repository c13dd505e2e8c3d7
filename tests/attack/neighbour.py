"""Another app on the same server: a few events each tenth of a second, and somebody who looks."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.attack.bodies import NEIGHBOUR
from tests.attack.connections import PATH

EVENTS_PER_S = 20
EVENTS_PER_SESSION = 40
INGESTION = "ingestion"
#: An SDK keeps an event for longer than this; here it is what a test has time for.
_GIVE_UP = 60.0


class Sample(NamedTuple):
    at: float
    seconds: float
    of: str


@dataclass
class Neighbour:
    """Sends and looks on schedule, whatever became of what was sent before.

    Args:
        port: The server's.
        ingest_key, read_key: Keys of its app.
    """

    port: int
    ingest_key: str
    read_key: str
    samples: list[Sample] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    #: What was answered beside 200 and 202, by what was asked.
    trouble: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._session = ""  # the last that has something
        self._over = threading.Event()
        self._own = threading.local()
        self._senders = ThreadPoolExecutor(64)
        self._lookers = ThreadPoolExecutor(32)
        self._threads = [
            threading.Thread(target=self._on_schedule, args=(1 / EVENTS_PER_S, self._send_next)),
            threading.Thread(target=self._on_schedule, args=(1.0, self._look_at_all)),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more, and wait for what is under way."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._senders.shutdown()
        self._lookers.shutdown()

    def stored(self) -> Counter[str]:
        """Count the events that the server has of this app, by their ids."""
        ids: Counter[str] = Counter()
        for session in self._list("/api/v1/sessions", app=NEIGHBOUR):
            of = {"app": NEIGHBOUR, "session_id": session["session_id"]}
            ids.update(event["id"] for event in self._list("/api/v1/events", **of))
        return ids

    def _on_schedule(self, interval: float, act: Any) -> None:
        began = time.monotonic()
        number = 0
        while not self._over.wait(max(0.0, began + number * interval - time.monotonic())):
            act(number)
            number += 1

    def _send_next(self, number: int) -> None:
        self._senders.submit(self._send, number, time.monotonic())

    def _send(self, number: int, due: float) -> None:
        session, place = divmod(number, EVENTS_PER_SESSION)
        id_ = f"b-{session}-{place}"
        body = json.dumps(
            {
                "type": "llm", "id": id_, "app": NEIGHBOUR, "session_id": f"b-{session}",
                "interaction_id": f"i{place // 4}", "tags": ["production"],
                "context": {"user_id": f"u{session % 7}"},
                "observation": {
                    "kind": "llm", "name": None, "input": f"hello {number}, I am locked out",
                    "output": "Use the reset link.", "metadata": {"model": "m"},
                    "metrics": {"latency_ms": 820},
                },
            }
        ).encode()  # fmt: skip
        while time.monotonic() - due < _GIVE_UP:
            status, retry_after, answer = self._ask("POST", PATH, self.ingest_key, body)
            if status == 202:
                receipt = json.loads(answer)
                if receipt["accepted"] + receipt["duplicates"] == 1:
                    self.acknowledged.add(id_)
                    self._session = f"b-{session}"
                    self._note(INGESTION, due)
                    return
            self.trouble[f"{INGESTION} {status}"] += 1
            time.sleep(retry_after)  # as it was told
        self.unanswered.add(id_)
        self._note(INGESTION, due)

    def _look_at_all(self, number: int) -> None:
        session = self._session
        for name, path in (
            ("session list", "/sessions"),
            ("session list, JSON", "/sessions.json"),
            ("one session", f"/session?app={NEIGHBOUR}&id={session}"),
            ("search", "/api/v1/search?q=locked"),
            ("statistics", "/api/v1/statistics?by=hour&group=model"),
        ):
            if session or name != "one session":
                self._lookers.submit(self._look, name, path, time.monotonic())

    def _look(self, name: str, path: str, due: float) -> None:
        status, _, _ = self._ask("GET", path, self.read_key)
        if status != 200:
            self.trouble[f"{name} {status}"] += 1
        self._note(name, due)

    def _note(self, of: str, due: float) -> None:
        seconds = time.monotonic() - due
        self.samples.append(Sample(time.time() - seconds, seconds, of))

    def _ask(
        self, method: str, path: str, key: str, body: bytes | None = None
    ) -> tuple[int, float, bytes]:
        """Give the status, 0 for a broken connection; the seconds to wait; and the answer."""
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection: http.client.HTTPConnection = self._own.connection
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        was_used = connection.sock is not None
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read()
            return response.status, float(response.getheader("Retry-After", "0.1")), answer
        except (OSError, http.client.HTTPException):
            connection.close()
            # One that was idle may be closed at any time: every client tries again at once.
            return self._ask(method, path, key, body) if was_used else (0, 0.1, b"")

    def _list(self, path: str, **parameters: Any) -> Any:
        after = ""
        while after is not None:
            query = urlencode({**parameters, "limit": 1000, "after": after})
            status, _, answer = self._ask("GET", f"{path}?{query}", self.read_key)
            assert status == 200, (path, status, answer)
            page = json.loads(answer)
            yield from page["items"]
            after = page["next"]


def has_session(port: int, key: str, app: str, session: str) -> bool:
    """Whether the server has a session, asked with a key that may read it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        query = urlencode({"app": app, "session_id": session})
        headers = {"Authorization": f"Bearer {key}"}
        connection.request("GET", f"/api/v1/session?{query}", None, headers)
        status = connection.getresponse().status
        assert status in (200, 404), status
        return status == 200
    finally:
        connection.close()
