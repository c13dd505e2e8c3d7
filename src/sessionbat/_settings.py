"""The client's settings: argument, else environment, else default, checked once.

``client`` and ``transports`` ask here and nowhere else; after that nothing is checked again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from sessionbat.errors import ConfigurationError
from sessionbat.event import MAX_NAME_CHARACTERS, MIN_EVENT_BYTES

DEFAULT_ENDPOINT = "https://ingest.sessionbat.com/api/v1/ingestion/events"
INGESTION_PATH = "/api/v1/ingestion/events"
DEFAULT_APP = "default"

EVENTS = "events"
OTLP = "otlp"
OTLP_PATH = "/v1/traces"
#: Of the name that stands for the app where OTLP's headers say whose events these are.
DIGEST_PREFIX = "headers-"

#: The most that a host may choose as ``max_event_bytes``.
MAX_CHOSEN_EVENT_BYTES = 16 * 1024 * 1024

_OFF = frozenset({"0", "false", "no", "off"})
_API_KEY = re.compile(r"[\x21-\x7e]+\Z")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
#: Of the request itself.
_OWN_HEADERS = frozenset(
    {
        *("connection", "content-encoding", "content-length", "content-type", "host"),
        *("transfer-encoding", "user-agent"),
    }
)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where events go, how and with which key; one worker serves each destination in a process."""

    endpoint: str
    api_key: str | None
    #: ``EVENTS``, SessionBat's own protocol, or ``OTLP``.
    wire: str = EVENTS
    #: Sent with each request of OTLP; they may hold keys.
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def has_secret(self) -> bool:
        """Whether what is sent is let in by a secret: then others may not send it."""
        return self.api_key is not None or bool(self.headers)

    def __repr__(self) -> str:
        """Name the endpoint only: a key never stands in a log or a traceback."""
        return f"Destination({self.endpoint!r})"


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """How a destination is served. Clients that ask for the same share a worker.

    ``durability`` is ``"memory"``, or ``"sync"``: written to the spool before ``send`` returns.
    """

    spool: bool = True
    spool_dir: str | None = None
    app: str = ""
    durability: str = "memory"
    exit_timeout: float = 2.0


def settle_delivery(
    *, spool: bool, durability: str, exit_timeout: float, app: str
) -> DeliveryOptions:
    """Settle how events are kept and for how long the process may be held at its end.

    Raises:
        ConfigurationError: An unknown durability, one that needs the spool that is turned off, or
            a time that is no number of seconds.
    """
    if durability not in ("memory", "sync"):
        raise ConfigurationError(
            f"durability must be 'memory' or 'sync', got {durability!r}.", slug="bad-durability"
        )
    if durability == "sync" and not spool:
        raise ConfigurationError(
            "durability='sync' writes to the spool, which spool=False turns off. Drop one of them.",
            slug="bad-durability",
        )
    if not isinstance(exit_timeout, int | float) or not 0 <= exit_timeout <= 3600:
        raise ConfigurationError(
            f"exit_timeout is seconds from 0 to 3600, got {exit_timeout!r}.",
            slug="bad-exit-timeout",
        )
    spool_dir = os.environ.get("SESSIONBAT_SPOOL_DIR", "").strip() or None
    if spool_dir is not None:
        with contextlib.suppress(OSError):  # the working directory was deleted
            spool_dir = os.path.abspath(spool_dir)  # noqa: PTH100 - the host may go elsewhere
    return DeliveryOptions(bool(spool), spool_dir, app, durability, float(exit_timeout))


def settle_sample_rate(rate: float) -> float:
    """Settle the share of sessions that is recorded.

    Raises:
        ConfigurationError: It is no number from 0 to 1.
    """
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise ConfigurationError(
            f"sample_rate is a share of all sessions from 0.0 to 1.0, got {rate!r}."
            " Write 0.1 to record one session in ten.",
            slug="bad-sample-rate",
        )
    return float(rate)


def settle_max_event_bytes(limit: int) -> int:
    """Settle how long an encoded event may be.

    Raises:
        ConfigurationError: Too small for an envelope, or larger than an endpoint would take.
    """
    if type(limit) is not int or not MIN_EVENT_BYTES <= limit <= MAX_CHOSEN_EVENT_BYTES:
        raise ConfigurationError(
            f"max_event_bytes is a number of bytes from {MIN_EVENT_BYTES} to"
            f" {MAX_CHOSEN_EVENT_BYTES}, got {limit!r}. Leave it out for 1 MiB.",
            slug="bad-max-event-bytes",
        )
    return limit


def recording_enabled() -> bool:
    """Whether this process records at all: ``SESSIONBAT_ENABLED=0`` turns it off."""
    return os.environ.get("SESSIONBAT_ENABLED", "1").strip().lower() not in _OFF


def app_name(app: str | None) -> str:
    """Settle the app's name: the argument, ``SESSIONBAT_APP``, else ``default``.

    Raises:
        ConfigurationError: It is longer than a server takes.
    """
    name = (str(app).strip() if app is not None else "") or (
        os.environ.get("SESSIONBAT_APP", "").strip() or DEFAULT_APP
    )
    if len(name) > MAX_NAME_CHARACTERS:
        raise ConfigurationError(
            f"app is a name of at most {MAX_NAME_CHARACTERS} characters, got {len(name)}. Pass"
            " app=... or set SESSIONBAT_APP.",
            slug="bad-app",
        )
    return name


def settle_destination(endpoint: str | None, api_key: str | None) -> Destination:
    """Settle where events go.

    Raises:
        ConfigurationError: The endpoint is no http(s) URL, the key cannot stand in a header, or
            there is no key for an endpoint that is not on loopback.
    """
    url = _endpoint(endpoint if endpoint is not None else os.environ.get("SESSIONBAT_ENDPOINT"))
    key = _api_key(api_key if api_key is not None else os.environ.get("SESSIONBAT_API_KEY"))
    if key is None and not is_loopback(urlsplit(url).hostname or ""):
        raise ConfigurationError(
            "no API key. Pass api_key=... or set SESSIONBAT_API_KEY;"
            " in tests pass transport=MemoryTransport().",
            slug="no-api-key",
        )
    return Destination(url, key)


def settle_otlp(endpoint: str | None, headers: Mapping[str, str] | None) -> Destination:
    """Settle where spans go; what is not given is that of OpenTelemetry's own variables.

    Headers of the environment go to the environment's endpoint only: they hold its key.

    Raises:
        ConfigurationError: There is no endpoint, it is no http(s) URL, or a header cannot be sent.
    """
    theirs = _otlp_endpoint_of_environment()
    given = endpoint if endpoint is not None else theirs
    if not (given or "").strip():
        raise ConfigurationError(
            "no endpoint for OTLP. Pass the address that takes traces, for example"
            f" 'http://localhost:4318{OTLP_PATH}', or set OTEL_EXPORTER_OTLP_ENDPOINT.",
            slug="no-otlp-endpoint",
        )
    url = _endpoint(given, OTLP_PATH)
    if headers is None:
        of_environment = theirs.strip() and _endpoint(theirs, OTLP_PATH) == url
        headers = _otlp_headers_of_environment() if of_environment else {}
    return Destination(url, None, OTLP, _headers(headers))


def _otlp_endpoint_of_environment() -> str:
    exact = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    return exact or (base and base.rstrip("/") + OTLP_PATH)


def _otlp_headers_of_environment() -> dict[str, str]:
    """Read ``name=value,…`` with percent signs (W3C Baggage), the one for traces first."""
    named = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
    text = next(filter(None, (os.environ.get(name, "").strip() for name in named)), "")
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {unquote(name).strip(): unquote(value).strip() for name, _, value in pairs}


def _headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    made = {}
    for name, value in _pairs_of(headers):
        is_name = isinstance(name, str) and _HEADER_NAME.match(name) and len(name) <= 100
        if not is_name or name.lower() in _OWN_HEADERS:
            # Perhaps a key stands where the name ought to: it is not shown then.
            what = f"the header {name!r}" if is_name else "a header's name"
            raise _bad_header(f"{what} cannot be given. Pass names such as 'Authorization'.")
        if not isinstance(value, str) or not _HEADER_VALUE.match(value):
            raise _bad_header(f"the value of the header {name!r} is no printable ASCII text.")
        made[name.lower()] = value
    return tuple(sorted(made.items()))


def _pairs_of(headers: Any) -> Iterable[tuple[Any, Any]]:
    if not isinstance(headers, Mapping):
        raise _bad_header("headers is a dict of names and values.")
    return headers.items()


def _bad_header(message: str) -> ConfigurationError:
    return ConfigurationError(message, slug="bad-otlp-header")


def headers_digest(destination: Destination) -> str:
    """Give a name to the headers without telling them: spools of other keys are apart."""
    text = "\0".join(f"{name}\0{value}" for name, value in destination.headers)
    return f"{DIGEST_PREFIX}{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _endpoint(endpoint: str | None, path: str = INGESTION_PATH) -> str:
    text = (endpoint or "").strip() or DEFAULT_ENDPOINT
    parts = _split(text)
    if parts is None:
        raise ConfigurationError(
            f"endpoint must be an http or https URL, got {text[:200]!r}."
            f" Write it in full, for example {DEFAULT_ENDPOINT!r}.",
            slug="bad-endpoint",
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"endpoint must not hold a user name or password (host {parts.hostname!r})."
            " Pass the key as api_key=... instead.",
            slug="bad-endpoint",
        )
    if parts.path in ("", "/"):
        parts = parts._replace(path=path)
    return parts._replace(fragment="").geturl()


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, a bracket without its pair
        return None
    return parts if usable and text.isascii() and text.isprintable() else None


def _api_key(api_key: str | None) -> str | None:
    key = str(api_key or "").strip()
    if key and _API_KEY.match(key) is None:
        raise ConfigurationError(
            "the API key holds a space, a line break or a character that is not ASCII."
            " Pass it exactly as it was issued.",
            slug="bad-api-key",
        )
    return key or None
