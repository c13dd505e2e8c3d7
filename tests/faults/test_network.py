"""Below HTTP: connections that break, hang, drip, or never come about."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sessionbat import SessionBat
from sessionbat._delivery import posting
from sessionbat.testing import Answer, Endpoint, Request, receipt, single_events_only, unused_port
from tests.conftest import eventually
from tests.faults.conftest import Record
from tests.faults.host import Host, on_disk

NewClient = Callable[..., SessionBat]


pytestmark = pytest.mark.slow  # they wait for what the network does not do

Pieces = list[tuple[bytes, float]]

HEAD = b"HTTP/1.1 202 X\r\nContent-Length: 400\r\n\r\n"


class RawEndpoint(Endpoint):
    """Answers some requests with pieces of bytes, each followed by a pause, and then closes."""

    def __init__(self, raw: Callable[[], Pieces | None]) -> None:
        self._raw = raw
        super().__init__(receipt)

    def _answer(self, connection: socket.socket, request: Request, answer: Answer) -> bool:
        pieces = self._raw()
        if pieces is None:
            return super()._answer(connection, request, answer)
        for data, pause in pieces:
            connection.sendall(data)
            if self._released.wait(pause):
                break
        return False


def one_byte_at_a_time(data: bytes) -> Pieces:
    return [(data[offset : offset + 1], 0.3) for offset in range(len(data))]


@pytest.mark.usefixtures("quick_backoff")
@pytest.mark.parametrize(
    "pieces",
    [one_byte_at_a_time(HEAD), [(HEAD, 0.0), *one_byte_at_a_time(b"x" * 400)]],
    ids=["head", "body"],
)
def test_a_response_that_drips(
    new_client: NewClient, record: Record, monkeypatch: pytest.MonkeyPatch, pieces: Pieces
) -> None:
    """Row 26: the deadline is for the whole request (10 s; 1 s here), then it is tried again."""
    monkeypatch.setattr(posting, "REQUEST_DEADLINE_S", 1.0)
    answers = iter([pieces])
    with RawEndpoint(lambda: next(answers, None)) as endpoint:
        client = new_client(endpoint=endpoint.url)
        ids = record(client, 1)
        assert client.flush(20)
        assert endpoint.acknowledged == ids
        first, second = endpoint.requests
        assert 0.9 < second.at - first.at < 4


@pytest.mark.usefixtures("quick_backoff")
@pytest.mark.parametrize(
    "pieces",
    [[], [(HEAD[:10], 0.0)], [(HEAD, 0.0)], [(HEAD + b'{"accepted": 1', 0.0)]],
    ids=["before-the-status", "in-the-status", "before-the-body", "in-the-body"],
)
def test_a_connection_that_breaks(new_client: NewClient, record: Record, pieces: Pieces) -> None:
    """Row 27: sent again with the same ids, as often as it takes."""
    answers = iter([pieces] * 5)
    with RawEndpoint(lambda: next(answers, None)) as endpoint:
        client = new_client(endpoint=endpoint.url)
        ids = record(client, 30)
        assert client.flush(20)
        assert sorted(endpoint.acknowledged) == sorted(ids)
        assert len({request.ids[0] for request in endpoint.requests[:5]}) == 1


@pytest.mark.parametrize("idle", ["idle", "busy"])
def test_a_kept_connection_that_the_endpoint_has_closed(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    idle: str,
) -> None:
    """Row 28: one try on a new connection at once, without a wait or a word."""

    def closing(request: Request) -> Answer:
        answer = receipt(request)
        answer.close = True
        return answer

    endpoint.behave = closing
    ids = []
    for _ in range(5):
        ids += record(client, 1)
        assert client.flush(5)
        if idle == "idle":
            eventually(lambda: not endpoint._open)
    assert endpoint.acknowledged == ids
    assert caplog.records == []


def test_a_kept_connection_that_ends_without_an_answer(
    new_client: NewClient, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 28, seen only when it is used: the endpoint closed it while we sent."""
    answers: list[Pieces] = []
    with RawEndpoint(lambda: answers.pop() if answers else None) as endpoint:
        client = new_client(endpoint=endpoint.url)
        ids = record(client, 1)
        assert client.flush(5)
        answers.append([])
        ids += record(client, 1)
        assert client.flush(5)
        assert endpoint.acknowledged == ids
        assert len(endpoint.requests) == 3
    assert caplog.records == []


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Names that resolve to addresses of this machine; all others fail, and nothing is asked."""
    known: dict[str, str] = {}
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, *args: object, **options: object) -> object:
        if host not in known and not host.startswith("127."):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(known.get(host, host), *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


@pytest.mark.usefixtures("quick_backoff")
def test_a_name_that_cannot_be_resolved_for_a_while(
    endpoint: Endpoint, new_client: NewClient, record: Record, names: dict[str, str]
) -> None:
    """Row 29: spooled, then delivered."""
    client = new_client(endpoint=f"http://sessionbat.invalid:{endpoint.port}", api_key="key")
    ids = record(client, 20)
    eventually(lambda: client.stats().spooled == 20)
    names["sessionbat.invalid"] = "127.0.0.1"
    assert client.flush(10)
    assert sorted(endpoint.acknowledged) == sorted(ids)


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address of this machine that answers no attempt to connect."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(4):  # fill the backlog: the kernel drops what comes then
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
        waiting.append(one)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    for one in (*waiting, listener):
        one.close()


def test_a_connection_that_is_never_answered(
    black_hole: str,
    new_client: NewClient,
    record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 30: given up after 3 s at most; the caller notices nothing."""
    client = new_client(endpoint=black_hole)
    started = time.monotonic()
    record(client, 100)
    assert time.monotonic() - started < 0.5
    eventually(lambda: caplog.records, timeout=10)
    assert 2 < time.monotonic() - started < 6
    assert "(timeout)" in caplog.text
    assert client.stats().spooled == 100


@pytest.mark.usefixtures("quick_backoff")
def test_an_endpoint_that_comes_back_at_the_same_address(
    new_client: NewClient, record: Record
) -> None:
    """Row 32, from inside: refused connections first, then all of it."""
    port = unused_port()
    client = new_client(endpoint=f"http://127.0.0.1:{port}")
    ids = record(client, 300)
    eventually(lambda: client.stats().spooled == 300)
    with Endpoint(receipt, port) as late:
        assert client.flush(10)
        assert sorted(late.acknowledged) == sorted(ids)
        eventually(lambda: not on_disk())


OUTAGE = """
import resource
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
record(1)
client.flush(5)
before, began, n = rss(), time.monotonic(), 0
most = 0
while (passed := time.monotonic() - began) < SECONDS:
    while n < passed * 1000:
        record(1, "x" * 600)
        n += 1
    most = max(most, rss())
    time.sleep(0.005)  # the pace of the load
say("outage", n, most - before, client.stats().spooled > n // 2)
while not client.flush(1):
    pass
s = counts()
say(s.recorded == s.delivered, len(threading.enumerate()))
"""


@pytest.mark.parametrize("seconds", [3, pytest.param(45, marks=pytest.mark.slow)])
@pytest.mark.timeout(150)
def test_an_outage_at_1000_events_a_second(endpoint: Endpoint, seconds: int) -> None:
    """Row 33, its five minutes scaled: memory stays bounded, the spool grows, all is delivered."""
    endpoint.behave = lambda request: (
        Answer(503, {"Retry-After": "0"}) if len(endpoint.acknowledged) else receipt(request)
    )
    with Host(OUTAGE.replace("SECONDS", str(seconds)), endpoint.url) as host:
        what, recorded, growth, spooled = host.hear(timeout=seconds + 30).split()
        assert (what, spooled) == ("outage", "True")
        assert int(growth) < 48e6
        endpoint.behave = receipt
        assert host.hear(timeout=60).split()[0] == "True"
        assert host.end().returncode == 0
    assert len(set(endpoint.acknowledged)) == int(recorded) + 1
    assert on_disk() == []


@pytest.mark.slow
def test_single_events_at_50_ms_each_go_side_by_side(
    endpoint: Endpoint, client: SessionBat, record: Record
) -> None:
    """Point 5 of the issue: at least 200 events a second with 12 senders at most, gone afterwards.

    Here half of that; ``bench/soak.py --singles`` prints the figure.
    """

    def slow(request: Request) -> Answer:
        most[0] = max(most[0], senders())
        answer = single_events_only(request)
        answer.delay_s = 0.05
        return answer

    def senders() -> int:
        names = [thread.name for thread in threading.enumerate() if thread not in others]
        return names.count("sessionbat-sender") + names.count("sessionbat-worker")

    others = set(threading.enumerate())  # what an earlier test's client has not yet ended
    most = [0]
    endpoint.behave = slow
    started = time.monotonic()
    record(client, 1000)
    assert client.flush(30)
    assert 1000 / (time.monotonic() - started) >= 100
    assert 2 <= most[0] <= 12
    eventually(lambda: senders() <= 1)
