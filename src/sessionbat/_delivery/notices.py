"""What the host's log is told of delivery: one line per change of state, never one per event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sessionbat._clock import monotonic
from sessionbat._host_log import host_log
from sessionbat._settings import INGESTION_PATH

DROPPED_EVERY_S: Final = 60.0
#: An odd event among good ones may bring the same answer each minute; that is said so often.
WRONG_ADDRESS_EVERY_S: Final = 3600.0

_log = host_log

_warned: set[tuple[str, str]] = set()


def warn_once(slug: str, about: str, message: str, *values: object) -> None:
    """Warn of something that stays so, once in a process and its forked children."""
    if (slug, about) not in _warned:
        _warned.add((slug, about))
        _log.warning(message, *values)


@dataclass(frozen=True, slots=True)
class WrongAddress:
    """Why an address seems to be no ingestion endpoint.

    ``answered`` is a status and words that may be shown; ``instead`` is the address that the
    server there gives for its ingestion, or empty; ``usual`` is what a right one looks like.
    """

    answered: str
    instead: str = ""
    usual: str = f"https://host{INGESTION_PATH}"


class Notices:
    """The state of one endpoint as told so far.

    Args:
        endpoint: Its URL; only the host is named in the log.
        clock: Seconds, ascending.
    """

    def __init__(self, endpoint: str, clock: Callable[[], float] = monotonic) -> None:
        self._host = urlsplit(endpoint).netloc
        self._clock = clock
        self._failing_since: float | None = None
        self._reason = ""
        self._denied = False
        self._spool_works = True
        self._told_of_duplicates = False
        self._told_of_spool = False
        self._untold: dict[str, int] = {}
        self._told_at: dict[str, float] = {}

    @property
    def is_denied(self) -> bool:
        """Whether the endpoint takes nothing, and waiting would not help."""
        return self._denied

    def failing(self, reason: str, *, denied: bool) -> None:
        """Note a failed try; said once when it begins, and once when it becomes a refusal."""
        if not self._has_become_worse(reason, denied=denied):
            return
        if denied:
            _log.error(
                "%s takes no events (%s): check the API key and the endpoint."
                " Events are kept and tried again each minute. [denied]",
                self._host,
                reason,
            )
        else:
            _log.warning(
                "cannot deliver to %s (%s); events are kept and tried again. [failing]",
                self._host,
                reason,
            )

    def wrong_address(self, reason: str, wrong: WrongAddress) -> None:
        """Note that something else than an ingestion endpoint seems to answer; said once."""
        if not self._has_become_worse(reason, denied=True):
            return
        now = self._clock()
        if now - self._told_at.get(wrong.answered, -WRONG_ADDRESS_EVERY_S) < WRONG_ADDRESS_EVERY_S:
            return
        self._told_at[wrong.answered] = now
        if wrong.instead:
            advice = f"The server there takes events at {wrong.instead}"
        else:
            advice = f"Such an address looks like {wrong.usual}"
        _log.error(
            "%s answered %s: it takes no events there; check the endpoint. %s."
            " Events are kept and tried again each minute. [wrong-address]",
            self._host,
            wrong.answered,
            advice,
        )

    def _has_become_worse(self, reason: str, *, denied: bool) -> bool:
        self._reason = reason
        if self._failing_since is not None and denied <= self._denied:
            return False
        if self._failing_since is None:
            self._failing_since = self._clock()
        self._denied = denied
        return True

    def recovered(self) -> None:
        """Note a success; said once after failures."""
        since, self._failing_since, self._denied = self._failing_since, None, False
        if since is not None:
            seconds = self._clock() - since
            _log.info("delivering to %s again after %.0f s. [recovered]", self._host, seconds)

    def duplicates(self, number: int) -> None:
        """Note events that the endpoint had although they were sent once; said once."""
        if self._told_of_duplicates:
            return
        self._told_of_duplicates = True
        _log.warning(
            "%s had %d of the events already that it was sent for the first time: of two with one"
            " id in one session it keeps the first. Unless they are the same observation, give each"
            " an observation_id of its own. More are counted only. [duplicate-id]",
            self._host,
            number,
        )

    def spool_off(self, why: str) -> None:
        """Note that the disk takes nothing; said once until it does again."""
        if self._spool_works:
            self._spool_works = False
            _log.warning(
                "cannot keep events on disk (%s); they are kept in memory only. [spool-off]", why
            )

    def spool_on(self) -> None:
        """Note that the disk takes events; said once after it did not."""
        if not self._spool_works:
            self._spool_works = True
            _log.info("events are kept on disk again. [spool-on]")

    def set_aside(self, name: str, why: str) -> None:
        """Note something in the spool that was not taken for what it seems to be; said once."""
        if not self._told_of_spool:
            self._told_of_spool = True
            _log.warning(
                "left out %s of the spool: %s. stats().set_aside counts these. [spool-set-aside]",
                name,
                why,
            )

    def dropped(self, reason: str, number: int) -> None:
        """Note events given up; said at once, then once a minute at most for each reason."""
        self._untold[reason] = self._untold.get(reason, 0) + number
        now = self._clock()
        if now - self._told_at.get(reason, -DROPPED_EVERY_S) < DROPPED_EVERY_S:
            return
        self._told_at[reason] = now
        count = self._untold.pop(reason, 0)
        _log.warning(
            "dropped %d event%s: %s%s. [%s]",
            count,
            "" if count == 1 else "s",
            _DROPPED_BECAUSE.get(reason, "the endpoint refused what it was sent"),
            self._trouble(now),
            reason.partition(":")[0],
        )

    def _trouble(self, now: float) -> str:
        if self._failing_since is None:
            return ""
        return f"; {self._host} failing ({self._reason}) for {now - self._failing_since:.0f} s"


_DROPPED_BECAUSE: Final = {
    "queue-full": "the queue is full",
    "exit": "the process ended before they were delivered, and there is no spool to keep them",
    "spool-full": "the spool reached its cap, and the oldest went first",
    "spool-expired": "they had waited in the spool for more than seven days",
    "spool-corrupt": "their record in the spool was damaged",
}
