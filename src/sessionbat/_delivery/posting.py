"""One body → one POST → an answer: the only place that speaks HTTP.

``post`` never raises and takes ``REQUEST_DEADLINE_S`` at most.
Everything that a request needs is imported with this module: importing inside the worker's thread
would leave a forked child with the import lock of a thread that it does not have.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - ``socket.getaddrinfo`` imports it at its first call
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import urllib3
import urllib3.connection
import urllib3.exceptions

from sessionbat._clock import monotonic
from sessionbat._delivery.answer import Answer
from sessionbat._delivery.notices import warn_once
from sessionbat._delivery.outcome import Outcome, Verdict
from sessionbat._delivery.own_socket import OwnSocket
from sessionbat._delivery.prompt_response import PromptResponse
from sessionbat._delivery.proxies import proxy_for
from sessionbat._settings import is_loopback
from sessionbat._version import __version__

CONNECT_TIMEOUT_S: Final = 3.0
REQUEST_DEADLINE_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
MAX_SENDERS: Final = 12
MAX_REDIRECTS: Final = 3


class Poster:
    """Posts to one address over a few kept connections. Safe from several threads.

    Args:
        url: Where to.
        headers: Sent with each request; they may hold a key.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = {"User-Agent": f"sessionbat-python/{__version__}", **headers}
        if headers:
            _warn_of_plain_http(url)
        self._pool = _new_pool(url)

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

    def post(self, body: bytes, headers: dict[str, str]) -> Answer | Outcome:
        """Post a body; returns the answer, or the outcome where there was none."""
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
