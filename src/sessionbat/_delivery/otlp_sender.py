"""Events as OpenTelemetry spans: OTLP/HTTP with JSON, and its answers as outcomes.

Beside ``sender``, for any backend that takes traces. What is queued and spooled is the event; it
becomes a span when it is sent, the same one at every try.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

from sessionbat._clock import wall_clock
from sessionbat._delivery.answer import Answer
from sessionbat._delivery.compression import GZIP, compress
from sessionbat._delivery.notices import WrongAddress
from sessionbat._delivery.outcome import Outcome, Verdict
from sessionbat._delivery.parcel import Parcel, Rejection
from sessionbat._delivery.posting import Poster
from sessionbat._delivery.retry import retry_after_s
from sessionbat._otel.span_writing import export_request
from sessionbat._settings import OTLP_PATH, Destination
from sessionbat._version import __version__

#: A body below this is sent as it is.
WORTH_COMPRESSING: Final = 1024

_DENIED: Final = frozenset({401, 403, 407})
_WRONG_ADDRESS: Final = frozenset({404, 405, 421})
#: Its reason where a backend says only how many spans it did not take.
PARTIAL: Final = "partial-success"


class OtlpSender:
    """Posts spans to one backend. Safe from several threads.

    Args:
        destination: Where to, and with which headers.
        wall_clock: Seconds since the epoch, for ``Retry-After`` dates.
    """

    takes_batches = True  # every backend does

    def __init__(
        self, destination: Destination, wall_clock: Callable[[], float] = wall_clock
    ) -> None:
        self._wall_clock = wall_clock
        self._secrets = [value for _, value in destination.headers]
        self._poster = Poster(destination.endpoint, dict(destination.headers))
        self._compresses = True

    def post_event(self, line: bytes) -> Outcome:
        """Post a single event."""
        outcome = self._post([line], 1)
        if outcome.verdict is Verdict.HALVE:
            verdict = Verdict.TOO_LARGE if outcome.reason == "http-413" else Verdict.REFUSED
            return Outcome(verdict, outcome.reason)
        if outcome.rejected:
            return Outcome(Verdict.REFUSED, outcome.rejected[0].slug)
        return outcome

    def post_batch(self, parcel: Parcel) -> Outcome:
        """Post several events."""
        return self._post(parcel.lines(), parcel.count)

    def forget_batches(self) -> None:
        """Do nothing: there is no other form."""

    def abandon_in_child(self) -> None:
        """Free in a forked child what a thread of the parent may have held."""
        self._poster.abandon_in_child()

    def _post(self, lines: Iterable[bytes], count: int) -> Outcome:
        try:
            body = request_body(lines)
        except (ValueError, TypeError, RecursionError):  # a host's own line, and no JSON object
            return Outcome(Verdict.HALVE, "not-encoded")
        answer = self._post_body(body)
        if isinstance(answer, Answer) and answer.status == 415 and self._compresses:
            self._compresses = False
            answer = self._post_body(body)
        return answer if isinstance(answer, Outcome) else self._outcome(answer, count)

    def _post_body(self, body: bytes) -> Answer | Outcome:
        headers = {"Content-Type": "application/json"}
        if self._compresses and len(body) >= WORTH_COMPRESSING:
            headers["Content-Encoding"] = GZIP
            body = compress(body, GZIP)
        return self._poster.post(body, headers)

    def _outcome(self, answer: Answer, count: int) -> Outcome:
        status = answer.status
        reason = f"http-{status}"
        if answer.ok:
            if answer.is_web_page:
                return Outcome(Verdict.WRONG_ADDRESS, "web-page", address=self._wrong(answer))
            return Outcome(
                Verdict.ACCEPTED,
                rejected=_rejections(answer.json(), count),
                sent_twice=answer.sent_twice,
            )
        if status in (408, 425, 429) or status >= 500 or status < 200:
            wait = retry_after_s(answer.headers.get("Retry-After"), self._wall_clock())
            return Outcome(Verdict.AGAIN, reason, wait)
        if status in _DENIED:
            return Outcome(Verdict.DENIED, reason)
        if status in _WRONG_ADDRESS or status < 400:
            return Outcome(Verdict.WRONG_ADDRESS, reason, address=self._wrong(answer))
        return Outcome(Verdict.HALVE, reason)

    def _wrong(self, answer: Answer) -> WrongAddress:
        answered = f"HTTP {answer.status}" + (" with a web page" if answer.ok else "")
        server = answer.server()
        if server and not any(secret in server for secret in self._secrets):
            answered += f" ({server})"
        return WrongAddress(answered, usual=f"https://host{OTLP_PATH}")


def request_body(lines: Iterable[bytes]) -> bytes:
    """Write events as the body of an export request.

    Raises:
        ValueError: One of them is no JSON object.
    """
    events = [json.loads(line) for line in lines]
    if not all(isinstance(event, dict) for event in events):
        raise ValueError("an event is a JSON object")
    made = export_request(events, __version__)
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _rejections(answer: dict[str, Any], count: int) -> tuple[Rejection, ...]:
    """Read ``partialSuccess``: how many spans were not taken; which ones, it does not say."""
    partial = answer.get("partialSuccess")
    said = partial.get("rejectedSpans") if isinstance(partial, dict) else None
    try:
        number = int(said) if isinstance(said, str | int) else 0
    except ValueError:
        return ()
    first = count - min(max(number, 0), count)
    return tuple(Rejection("", PARTIAL, place) for place in range(first, count))
