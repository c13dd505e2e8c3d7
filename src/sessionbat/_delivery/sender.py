"""One body → one POST → an outcome: accepted, try again, or one of the ways to be refused.

The only place that speaks HTTP; ``answer`` reads what came back. ``post`` never raises and takes
``REQUEST_DEADLINE_S`` at most.
Everything that a request needs is imported with this module: importing inside the worker's thread
would leave a forked child with the import lock of a thread that it does not have.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - ``socket.getaddrinfo`` imports it at its first call
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import urllib3
import urllib3.connection
import urllib3.exceptions

from sessionbat._clock import monotonic, wall_clock
from sessionbat._delivery.answer import Answer
from sessionbat._delivery.compression import choose
from sessionbat._delivery.notices import WrongAddress, warn_once
from sessionbat._delivery.own_socket import OwnSocket
from sessionbat._delivery.parcel import Parcel, Rejection
from sessionbat._delivery.prompt_response import PromptResponse
from sessionbat._delivery.proxies import proxy_for
from sessionbat._delivery.retry import retry_after_s
from sessionbat._settings import Destination, is_loopback
from sessionbat._version import __version__

CONNECT_TIMEOUT_S: Final = 3.0
REQUEST_DEADLINE_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
MAX_SENDERS: Final = 12
MAX_REDIRECTS: Final = 3

_AGAIN: Final = frozenset({408, 425, 429})
_DENIED: Final = frozenset({401, 403, 407})
_NO_BATCHES: Final = frozenset({404, 405, 415})
#: The only statuses that speak of what was sent. Any other 4xx speaks of the address.
_ABOUT_EVENTS: Final = frozenset({400, 413, 422})


class Verdict(Enum):
    """What an endpoint said to one request."""

    ACCEPTED = "accepted"
    AGAIN = "try again later"
    DENIED = "this key takes nothing for now"
    WRONG_ADDRESS = "this is no ingestion endpoint"
    HALVE = "too much, or something in it is bad"
    NO_BATCHES = "single events only"
    TOO_LARGE = "this one event is too large"
    REFUSED = "this one event will never be taken"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    ``reason`` is a slug (``http-503``, ``network``, ``bad-event``); ``rejected`` names the events
    of an accepted batch that were not taken, with the endpoint's slug for each; ``duplicates``
    counts those that it had already, which ``sent_twice`` explains. ``address`` says
    why it looks as if events were sent to the wrong address. With a refusal, it means that
    something other than an ingestion endpoint may have said so: no verdict on an event from an
    address that has never taken one.
    """

    verdict: Verdict
    reason: str = ""
    retry_after_s: float | None = None
    rejected: tuple[Rejection, ...] = ()
    address: WrongAddress | None = None
    duplicates: int = 0
    sent_twice: bool = False


class Sender:
    """Posts to one destination over a few kept connections. Safe from several threads.

    Args:
        destination: Where to, and with which key.
        wall_clock: Seconds since the epoch, for ``Retry-After`` dates.
    """

    def __init__(
        self, destination: Destination, wall_clock: Callable[[], float] = wall_clock
    ) -> None:
        self._url = destination.endpoint
        self._wall_clock = wall_clock
        self._headers = {"User-Agent": f"sessionbat-python/{__version__}"}
        if destination.api_key is not None:
            self._headers["Authorization"] = f"Bearer {destination.api_key}"
            _warn_of_plain_http(destination.endpoint)
        self._key = destination.api_key or ""
        self._pool = _new_pool(destination.endpoint)
        #: Whether the endpoint has said that it takes batches, and how they may be compressed.
        self.takes_batches = False
        self._coding: str | None = None

    def post_event(self, line: bytes) -> Outcome:
        """Post a single event, in the one form that any endpoint knows."""
        answer = self._post(line, {"Content-Type": "application/json"})
        return answer if isinstance(answer, Outcome) else self._single_outcome(answer)

    def post_batch(self, parcel: Parcel) -> Outcome:
        """Post several events as NDJSON, compressed in the way that the endpoint has offered."""
        headers = {"Content-Type": "application/x-ndjson"}
        if self._coding is None:
            body = parcel.body
        else:
            body = parcel.packed(self._coding)
            headers["Content-Encoding"] = self._coding
        answer = self._post(body, headers)
        return answer if isinstance(answer, Outcome) else self._batch_outcome(answer, parcel.count)

    def forget_batches(self) -> None:
        """Go back to single events until the endpoint offers batches anew."""
        self.takes_batches = False
        self._coding = None

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.clear()

    def abandon_in_child(self) -> None:
        """Free in a forked child the locks that a thread of the parent may have held.

        urllib3 takes them when the interpreter ends, and would wait for that thread for ever.
        """
        for pool in list(self._pool.pools._container.values()):
            connections = pool.pool
            if connections is not None and connections.mutex.locked():
                connections.mutex.release()

    def _post(self, body: bytes, headers: dict[str, str]) -> Answer | Outcome:
        deadline = monotonic() + REQUEST_DEADLINE_S
        url = self._url
        try:
            for _ in range(MAX_REDIRECTS + 1):
                answer = self._post_twice(url, body, headers, deadline)
                if answer.status not in (307, 308):
                    return answer
                target = urljoin(url, answer.headers.get("Location") or "")
                if not _same_origin(url, target):
                    return answer
                url = target
            return answer
        except _TLS_FAILURES as error:
            return _tls_outcome(error)
        except urllib3.exceptions.ProxyError as error:
            return _proxy_outcome(error)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return Outcome(Verdict.AGAIN, _network_reason(error))

    def _post_twice(
        self, url: str, body: bytes, headers: dict[str, str], deadline: float
    ) -> Answer:
        try:
            return self._post_once(url, body, headers, deadline)
        except urllib3.exceptions.ProtocolError:
            # A kept connection that the endpoint closed meanwhile shows only when it is used.
            return replace(self._post_once(url, body, headers, deadline), sent_twice=True)

    def _post_once(self, url: str, body: bytes, headers: dict[str, str], deadline: float) -> Answer:
        left = max(0.05, deadline - monotonic())
        with self._pool.request(
            "POST",
            url,
            body=body,
            headers=self._headers | headers,
            retries=False,
            redirect=False,
            preload_content=False,
            timeout=urllib3.Timeout(total=left, connect=min(CONNECT_TIMEOUT_S, left)),
        ) as response:
            text = _read_answer(response, deadline)
            return Answer(response.status, response.headers, text)

    def _single_outcome(self, answer: Answer) -> Outcome:
        status = answer.status
        if answer.ok and not answer.is_web_page:
            self._learn(answer.headers)
            taken = _taken(answer, answer.json())
            return Outcome(Verdict.REFUSED, taken.rejected[0].slug) if taken.rejected else taken
        common = self._common_outcome(answer)
        if common is not None:
            return common
        slug = answer.error_slug()
        verdict = Verdict.TOO_LARGE if status == 413 else Verdict.REFUSED
        reason = f"http-{status}" if status == 413 or not slug else slug
        return Outcome(verdict, reason, address=None if slug else self._wrong_address(answer))

    def _batch_outcome(self, answer: Answer, count: int) -> Outcome:
        status = answer.status
        if answer.ok and not answer.is_web_page:
            return self._receipt_outcome(answer, count)
        if status in _NO_BATCHES:
            return Outcome(Verdict.NO_BATCHES, f"http-{status}")
        return self._common_outcome(answer) or Outcome(Verdict.HALVE, f"http-{status}")

    def _receipt_outcome(self, answer: Answer, count: int) -> Outcome:
        receipt = answer.json()
        taken = _taken(answer, receipt)
        stored = [receipt.get(name) for name in ("accepted", "duplicates")]
        counts = [number for number in stored if type(number) is int]
        if len(counts) != 2 or sum(counts) + len(taken.rejected) != count:
            return Outcome(Verdict.AGAIN, "no-receipt")
        return taken

    def _common_outcome(self, answer: Answer) -> Outcome | None:
        """Read what does not speak of the events; None for what does."""
        status = answer.status
        if status in _AGAIN or status >= 500 or status < 200:
            wait = retry_after_s(answer.headers.get("Retry-After"), self._wall_clock())
            return Outcome(Verdict.AGAIN, f"http-{status}", wait)
        # A SessionBat that says where its ingestion is says so whatever else it objects to.
        if status in _DENIED and not self._path_instead(answer):
            return Outcome(Verdict.DENIED, f"http-{status}")
        if status in _ABOUT_EVENTS and not self._path_instead(answer):
            return None
        reason = "web-page" if answer.ok else f"http-{status}"
        return Outcome(Verdict.WRONG_ADDRESS, reason, address=self._wrong_address(answer))

    def _wrong_address(self, answer: Answer) -> WrongAddress:
        answered = f"HTTP {answer.status}"
        if answer.ok:
            answered += " with a web page"
        slug, server = answer.error_slug(), answer.server()
        safe = [word for word in (slug, server) if word and not (self._key and self._key in word)]
        path = self._path_instead(answer)
        instead = urljoin(self._url, path) if path else ""
        return WrongAddress(" ".join((answered, *(f"({word})" for word in safe))), instead)

    def _path_instead(self, answer: Answer) -> str:
        path = answer.ingestion_path()
        return "" if path == urlsplit(self._url).path else path

    def _learn(self, headers: Any) -> None:
        """Read the endpoint's offers: ``Accept-Post`` (W3C LDP), ``Accept-Encoding`` (RFC 7694)."""
        if "application/x-ndjson" not in _list_header(headers.get("Accept-Post")):
            return
        self._coding = choose(_list_header(headers.get("Accept-Encoding")))
        self.takes_batches = True


def _taken(answer: Answer, receipt: dict[str, Any]) -> Outcome:
    """Read from a success what became of each event."""
    duplicates = receipt.get("duplicates")
    return Outcome(
        Verdict.ACCEPTED,
        rejected=answer.rejected(receipt),
        duplicates=duplicates if type(duplicates) is int and duplicates > 0 else 0,
        sent_twice=answer.sent_twice,
    )


_TLS_FAILURES: Final = (urllib3.exceptions.SSLError, ssl.SSLError)


class _Connection(OwnSocket, urllib3.connection.HTTPConnection):
    response_class = PromptResponse


class _SecureConnection(OwnSocket, urllib3.connection.HTTPSConnection):
    response_class = PromptResponse


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _read_answer(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """Read the body piece by piece: an endpoint that drips bytes must not hold the worker."""
    parts: list[bytes] = []
    size = 0
    while True:
        part = response.read1(65536, decode_content=True)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise ValueError("answer too long")
        if monotonic() > deadline:
            raise TimeoutError("answer too slow")


def _tls_outcome(error: Exception) -> Outcome:
    # A certificate that is not valid stays so until somebody acts; anything else may pass.
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Outcome(Verdict.DENIED, "tls-certificate")
    return Outcome(Verdict.AGAIN, "tls")


def _proxy_outcome(error: urllib3.exceptions.ProxyError) -> Outcome:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Outcome(Verdict.DENIED, "tls-certificate")
    if "Tunnel connection failed: 407" in str(error):
        return Outcome(Verdict.DENIED, "http-407")
    return Outcome(Verdict.AGAIN, "proxy")


def _network_reason(error: Exception) -> str:
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # of urllib3's timeouts
    if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError) and not refused:
        return "timeout"
    return "network"


def _same_origin(url: str, target: str) -> bool:
    here, there = urlsplit(url), urlsplit(target)
    return (here.scheme, here.netloc) == (there.scheme, there.netloc) and url != target


def _list_header(header: str | None) -> list[str]:
    return [item.partition(";")[0].strip().lower() for item in (header or "").split(",")]


def _new_pool(endpoint: str) -> urllib3.PoolManager:
    # Never waits for a connection: there are no more users than places, and at exit urllib3 takes
    # every place away before what is still waiting has been delivered.
    options: dict[str, Any] = {"maxsize": MAX_SENDERS, "block": False}
    proxy = proxy_for(endpoint)
    if proxy is None:
        pool = urllib3.PoolManager(2, **options)
    else:
        if proxy.credentials:
            options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=proxy.credentials)
        pool = urllib3.ProxyManager(proxy.url, 2, **options)
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return pool


def _warn_of_plain_http(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        warn_once(
            "plain-http",
            parts.netloc,
            "the API key and the events go to %s over plain http, where others on the way can"
            " read them: write the endpoint with https. [plain-http]",
            parts.netloc,
        )
