"""The attacker's client: every shape in rotation, several at once, from a process of its own.

Run by ``run.py``: ``python -m tests.attack.attacker``, its order as JSON on standard input. Writes
one JSON line for each shape as it ends, with how often which status was answered.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from sessionbat.server.web.file_limit import raise_file_limit
from tests.attack import bodies, connections, questions
from tests.attack.bodies import Body, MakeBody
from tests.attack.connections import PATH


class Order(NamedTuple):
    port: int
    ingest_key: str
    read_key: str
    seconds: float
    #: Shapes that run at the same time.
    lanes: int = 3
    #: Longest time of one shape in a row, once it was answered.
    turn: float = 10.0
    #: Seconds that a shape waits at most for its first answer that is not "come again".
    patience: float = 20.0
    #: Seconds by which all may last longer, for the shapes that were not answered yet.
    overtime: float = 120.0
    seed: int = 1
    only: str = ""


class Attacker:
    """One shape's view of the server, for as long as its turn is."""

    def __init__(self, order: Order) -> None:
        self.port = order.port
        self.over = threading.Event()
        self.answers: Counter[str] = Counter()
        self._order = order
        self._own = threading.local()
        self._open: list[http.client.HTTPConnection] = []

    def hang_up(self) -> None:
        """End the turn, whatever is under way."""
        self.over.set()
        for connection in self._open:
            with suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def post(self, body: Body) -> None:
        key = {"Authorization": f"Bearer {self._order.ingest_key}"}
        self._ask("POST", PATH, body.data, {**key, **body.headers})

    def get(self, path: str) -> None:
        key = {"Authorization": f"Bearer {self._order.read_key}"}
        self._ask("GET", path, None, key)

    def guess(self) -> None:
        """Ask with keys that are none."""
        key = {"Authorization": "Bearer sbat_read_" + "a" * 40}
        self._ask("GET", "/sessions", None, key)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
        try:
            connection = self._connection()
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            response.read()
            self.answers[str(response.status)] += 1
        except (OSError, http.client.HTTPException) as exc:
            self._connection().close()
            if not self.over.is_set():
                self.answers[type(exc).__name__] += 1
                self.over.wait(0.05)

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            self._open.append(self._own.connection)
        return self._own.connection  # type: ignore[no-any-return]


class Shape(NamedTuple):
    name: str
    #: Does it once, or for as long as the turn is.
    do: Callable[[Attacker], object]
    #: Threads that do it.
    at_once: int


def _posting(make: MakeBody, at_once: int = 2) -> Shape:
    return Shape(make.__name__, lambda attacker: attacker.post(make()), at_once)


def _holding(name: str, count: int, first: Callable[[Order], bytes]) -> Shape:
    def hold(attacker: Attacker) -> None:
        first_bytes = first(attacker._order)
        for opened in connections.hold(attacker.port, attacker.over, count, first_bytes):
            attacker.answers["held"] = opened

    return Shape(name, hold, 1)


def _pouring(name: str, start: bytes, piece: bytes, at_once: int) -> Shape:
    def pour(attacker: Attacker) -> None:
        attacker.answers[connections.pour(attacker.port, attacker.over, start, piece)] += 1

    return Shape(name, pour, at_once)


def _upgrading(attacker: Attacker) -> None:
    body = bodies.event(b'"hello"')
    head = connections.head(
        "POST", PATH, "Content-Type: application/json", "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", f"Content-Length: {len(body)}",
        f"Authorization: Bearer {attacker._order.ingest_key}",
    )  # fmt: skip
    attacker.answers[str(connections.send(attacker.port, head + body))] += 1


def _unread(attacker: Attacker) -> None:
    path = f"/api/v1/events?app={bodies.APP}&session_id={questions.BIG}"
    request = connections.head("GET", path, f"Authorization: Bearer {attacker._order.read_key}")
    connections.leave_unread(attacker.port, attacker.over, request)
    attacker.answers["left unread"] += 1


def _slow_body(order: Order) -> bytes:
    """With a key: the head of a body, then a byte of it each second."""
    return connections.head(
        "POST", PATH, "Content-Type: application/json", "Content-Length: 30000",
        f"Authorization: Bearer {order.ingest_key}",
    ) + b" " * 512  # fmt: skip


_CHUNKED = ("Content-Type: application/json", "Transfer-Encoding: chunked")

SHAPES: tuple[Shape, ...] = (
    _posting(bodies.numbers),
    _posting(bodies.token_ids),
    _posting(bodies.embeddings),
    _posting(bodies.objects),
    _posting(bodies.deep),
    _posting(bodies.repeated_names),
    _posting(bodies.messages),
    _posting(bodies.one_word),
    _posting(bodies.letters),
    _posting(bodies.different_words),
    _posting(bodies.characters),
    _posting(bodies.hexadecimal, 4),
    _posting(bodies.largest_text),
    _posting(bodies.largest_count),
    _posting(bodies.largest_zipped, 3),
    _posting(bodies.sessions),
    _posting(bodies.labels),
    _posting(bodies.tags),
    _posting(bodies.times),
    _posting(bodies.future, 3),
    _posting(bodies.duplicates),
    _posting(bodies.bombs, 3),
    _posting(bodies.malformed, 4),
    _posting(bodies.oversized, 4),
    Shape("searches", lambda attacker: attacker.get(next(questions.searches)), 8),
    Shape("forty views", lambda attacker: attacker.get(next(questions.views)), 40),
    Shape("large answers", lambda attacker: attacker.get(next(questions.answers)), 20),
    Shape("unread answers", _unread, 40),
    Shape("wrong keys", Attacker.guess, 8),
    Shape("upgrades", _upgrading, 4),
    _pouring("one-byte chunks", connections.head("POST", PATH, *_CHUNKED),
             b"1\r\n \r\n" * 33_000, 100),
    _pouring("a body without a key", connections.head("POST", "/login", *_CHUNKED),
             b"%x\r\n" % 200_000 + b" " * 200_000 + b"\r\n", 10),
    _holding("silent connections", 500, lambda _: b""),
    _holding("half a head", 2_500, lambda _: b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "),
    _holding("slow bodies", 600, _slow_body),
)  # fmt: skip


def main() -> None:
    order = Order(**json.load(sys.stdin))
    raise_file_limit()
    os.nice(5)  # it has a machine of its own; here it must not be what takes the server's time
    _lay_groundwork(order)
    print(json.dumps({"ready": True}), flush=True)
    ends_at = time.monotonic() + order.seconds
    shapes = [each for each in SHAPES if order.only in ("", each.name)]
    # Much less than its part: most wait for an answer longer.
    turn = min(order.turn, 0.25 * order.seconds * order.lanes / len(shapes))
    rotation = _Rotation(shapes, order.seed)
    lanes = [
        threading.Thread(target=_run_lane, args=(order, rotation, turn, ends_at))
        for _ in range(min(order.lanes, len(shapes)))
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()


def _lay_groundwork(order: Order) -> None:
    attacker = Attacker(order)
    for body in questions.groundwork():
        attacker.post(body)
    if set(attacker.answers) != {"202"}:
        raise SystemExit(f"the groundwork was answered {dict(attacker.answers)}")


class _Rotation:
    """Gives shapes in turn; once time is over only those that were not answered yet."""

    def __init__(self, shapes: list[Shape], seed: int) -> None:
        self._shapes = shapes
        self._pick = random.Random(seed)
        self._left: list[Shape] = []
        self._unanswered = {shape.name for shape in shapes}
        self._lock = threading.Lock()  # guards these

    def take(self, *, is_over: bool) -> Shape | None:
        with self._lock:
            if is_over:
                self._left = [each for each in self._left if each.name in self._unanswered]
            if not self._left:
                self._left = [
                    each for each in self._shapes if not is_over or each.name in self._unanswered
                ]
                self._pick.shuffle(self._left)
            return self._left.pop() if self._left else None

    def note(self, shape: Shape, answers: Mapping[str, int]) -> None:
        with self._lock:
            if was_answered(answers):
                self._unanswered.discard(shape.name)


def _run_lane(order: Order, rotation: _Rotation, turn: float, ends_at: float) -> None:
    gives_up_at = ends_at + order.overtime
    while (now := time.monotonic()) < gives_up_at:
        shape = rotation.take(is_over=now > ends_at)
        if shape is None:
            return
        began = time.time()
        # What comes late is not sent again and again, behind itself.
        patience = order.patience if now < ends_at else gives_up_at - now
        answers = _run(order, shape, turn, patience)
        rotation.note(shape, answers)
        line = {"shape": shape.name, "began": began, "ended": time.time(), "answers": answers}
        print(json.dumps(line), flush=True)


def was_answered(answers: Mapping[str, int]) -> bool:
    """Whether the server has done something about what was asked, beside "come again"."""
    return any(count and answer != "503" for answer, count in [*answers.items()])


def _run(order: Order, shape: Shape, seconds: float, patience: float) -> Counter[str]:
    attacker = Attacker(order)

    def work() -> None:
        while not attacker.over.is_set():
            try:
                shape.do(attacker)
            except OSError as exc:
                if not attacker.over.is_set():
                    attacker.answers[type(exc).__name__] += 1
                    attacker.over.wait(0.05)

    with ThreadPoolExecutor(shape.at_once) as threads:
        for _ in range(shape.at_once):
            threads.submit(work)
        began = time.monotonic()
        attacker.over.wait(seconds)
        while not was_answered(attacker.answers) and time.monotonic() - began < patience:
            attacker.over.wait(0.05)
        attacker.hang_up()
    return attacker.answers


if __name__ == "__main__":
    main()
