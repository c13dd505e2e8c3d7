"""Events in SessionBat's own protocol: one POST → an outcome: accepted, try again, or refused.

``posting`` speaks HTTP, ``answer`` reads what came back. No method of a sender raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from sessionbat._clock import wall_clock
from sessionbat._delivery.answer import Answer
from sessionbat._delivery.compression import choose
from sessionbat._delivery.notices import WrongAddress
from sessionbat._delivery.outcome import Outcome, Verdict
from sessionbat._delivery.parcel import Parcel
from sessionbat._delivery.posting import Poster
from sessionbat._delivery.retry import retry_after_s
from sessionbat._settings import Destination

_AGAIN: Final = frozenset({408, 425, 429})
_DENIED: Final = frozenset({401, 403, 407})
_NO_BATCHES: Final = frozenset({404, 405, 415})
#: The only statuses that speak of what was sent. Any other 4xx speaks of the address.
_ABOUT_EVENTS: Final = frozenset({400, 413, 422})


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
        self._key = destination.api_key or ""
        self._poster = Poster(
            destination.endpoint, {"Authorization": f"Bearer {self._key}"} if self._key else {}
        )
        #: Whether the endpoint has said that it takes batches, and how they may be compressed.
        self.takes_batches = False
        self._coding: str | None = None

    def post_event(self, line: bytes) -> Outcome:
        """Post a single event, in the one form that any endpoint knows."""
        answer = self._poster.post(line, {"Content-Type": "application/json"})
        return answer if isinstance(answer, Outcome) else self._single_outcome(answer)

    def post_batch(self, parcel: Parcel) -> Outcome:
        """Post several events as NDJSON, compressed in the way that the endpoint has offered."""
        headers = {"Content-Type": "application/x-ndjson"}
        if self._coding is None:
            body = parcel.body
        else:
            body = parcel.packed(self._coding)
            headers["Content-Encoding"] = self._coding
        answer = self._poster.post(body, headers)
        return answer if isinstance(answer, Outcome) else self._batch_outcome(answer, parcel.count)

    def forget_batches(self) -> None:
        """Go back to single events until the endpoint offers batches anew."""
        self.takes_batches = False
        self._coding = None

    def abandon_in_child(self) -> None:
        """Free in a forked child what a thread of the parent may have held."""
        self._poster.abandon_in_child()

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


def _list_header(header: str | None) -> list[str]:
    return [item.partition(";")[0].strip().lower() for item in (header or "").split(",")]
