"""How long sessions are kept, and how much room they may take: what goes, and who sees to it.

Sessions go whole, the one whose last activity is longest ago first: half a session would tell a
wrong story, and its figures would change without anybody having done anything.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sessionbat.errors import ConfigurationError
from sessionbat.server.records import Removed, SessionSummary
from sessionbat.server.store.protocol import Store

#: Less than this no store needs.
MIN_STORE_BYTES: Final = 4 * 1024 * 1024

_INTERVAL: Final = 60.0
_SESSIONS: Final = 100
# Below the limit, so that not each new event sets everything in motion.
_FILLED: Final = 0.95
# The words of deleted events leave the text index when it is merged, which writes all of it anew:
# each time that so many events of those there are have gone.
_MERGED_PART: Final = 0.05

_log = logging.getLogger("sessionbat.server")


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept.

    Raises:
        ConfigurationError: A limit is too small to be meant.
    """

    #: Sessions without activity for longer than this go.
    max_age: timedelta | None = None
    #: When the store takes more room, sessions go until it does not.
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        """Check that what is asked for can be."""
        if self.max_age is not None and self.max_age <= timedelta(0):
            raise ConfigurationError(
                f"retention must be longer than 0 days, got {self.max_age}", slug="bad-retention"
            )
        if self.max_bytes is not None and self.max_bytes < MIN_STORE_BYTES:
            raise ConfigurationError(
                f"a store needs at least {MIN_STORE_BYTES} bytes, got {self.max_bytes}",
                slug="bad-max-size",
            )

    @property
    def keeps_all(self) -> bool:
        """Whether nothing ever goes."""
        return self.max_age is None and self.max_bytes is None


def foresee(store: Store, retention: Retention, now: datetime) -> Removed:
    """Say what ``enforce`` would delete, without doing it; of the size it is an estimate."""
    size, count = store.size_bytes(), max(1, store.count_events())
    removed = Removed()
    before: datetime | None = _oldest_kept(retention, now)
    limit = retention.max_bytes
    per_event = size / count
    listed, ask = list[SessionSummary](), _SESSIONS
    while True:
        listed = store.list_idle_sessions(limit=ask)
        removed = Removed()
        for session in listed:
            left = size - removed.events * per_event
            is_over = limit is not None and size > limit and left > limit * _FILLED
            if not is_over and (
                before is None or datetime.fromisoformat(session.last_at) >= before
            ):
                return removed
            events = removed.events + session.observations
            removed = Removed(removed.sessions + 1, events, round(events * per_event))
        if len(listed) < ask:
            return removed
        ask *= 4


def enforce(
    store: Store,
    retention: Retention,
    now: datetime,
    on_progress: Callable[[int], None] = lambda _events: None,
) -> Removed:
    """Delete what is not to be kept, in steps that let others write in between.

    Room is only given back by ``Store.compact``: for a limit on the size it is called here, after
    one on the age by the caller.

    Args:
        store: Where.
        retention: What is kept.
        now: The time.
        on_progress: Called with how many more events are deleted; may raise, to stop.
    """
    removed = _delete_old(store, _oldest_kept(retention, now), on_progress)
    if retention.max_bytes is not None and store.size_bytes() > retention.max_bytes:
        removed += _make_room(store, int(retention.max_bytes * _FILLED), on_progress)
    return removed


class RetentionKeeper:
    """Enforces a retention while a server runs, from a thread of its own.

    Args:
        store: Where.
        retention: What is kept.
        interval: Seconds between two looks.
        clock: The time.
    """

    def __init__(
        self,
        store: Store,
        retention: Retention,
        interval: float = _INTERVAL,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._retention = retention
        self._interval = interval
        self._clock = clock
        self._unmerged = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sessionbat-retention", daemon=True)

    def start(self) -> None:
        """Begin, unless everything is kept."""
        if not self._retention.keeps_all:
            self._thread.start()

    def close(self) -> None:
        """Finish the step under way, then stop."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._enforce()
            except _Stopped:
                return
            except Exception as exc:  # noqa: BLE001 - a full disk now must not end retention for good
                _log.error("retention: %s; trying again in %g s", exc, self._interval)
            self._closing.wait(self._interval)

    def _enforce(self) -> None:
        removed = enforce(self._store, self._retention, self._clock(), self._stop_if_closing)
        if removed.sessions:
            _log.info(
                "retention: deleted %d sessions with %d events", removed.sessions, removed.events
            )
        self._unmerged += removed.events
        if self._unmerged > self._store.count_events() * _MERGED_PART:
            self._store.compact(self._stop_if_closing)
            self._unmerged = 0

    def _stop_if_closing(self, *_: int) -> None:
        if self._closing.is_set():
            raise _Stopped


class _Stopped(Exception):
    """The server is stopping; what is left is done after the next start."""


def _oldest_kept(retention: Retention, now: datetime) -> datetime | None:
    return None if retention.max_age is None else now - retention.max_age


def _delete_old(
    store: Store, before: datetime | None, on_progress: Callable[[int], None]
) -> Removed:
    removed = Removed()
    while before is not None:
        idle = store.list_idle_sessions(before=before, limit=_SESSIONS)
        if not idle:
            break
        removed += store.delete_sessions(_keys(idle), idle_since=before, on_progress=on_progress)
    return removed


def _make_room(store: Store, size: int, on_progress: Callable[[int], None]) -> Removed:
    removed = Removed()
    while (over := store.size_bytes() - size) > 0:
        # An event takes its part of everything: what goes is guessed, then measured.
        events = over * store.count_events() / (over + size)
        idle = list[SessionSummary]()
        while events > 0:
            idle = _first(store.list_idle_sessions(limit=_SESSIONS), events)
            if not idle:
                break
            removed += store.delete_sessions(_keys(idle), on_progress=on_progress)
            events -= sum(session.observations for session in idle)
        store.compact(lambda _done, _total: on_progress(0))
        if not idle:
            break  # what is left is not events
    return removed


def _first(sessions: list[SessionSummary], events: float) -> list[SessionSummary]:
    """Take so many of the first sessions that they have so many events together."""
    taken = []
    for session in sessions:
        if events <= 0:
            break
        taken.append(session)
        events -= session.observations
    return taken


def _keys(sessions: list[SessionSummary]) -> list[tuple[str, str]]:
    return [(session.app, session.session_id) for session in sessions]
