"""Retention: deletes old sessions by age, and idle ones when the store is too large.

Sessions are deleted whole, the longest idle first: half a session would be misleading, and its
figures would change without anybody having done anything. To reduce the size, the apps that take
most room lose sessions first.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sessionbat.errors import ConfigurationError
from sessionbat.server.background import Background
from sessionbat.server.ops.store_watch import is_told_already
from sessionbat.server.records import AppMeasures, Removed, SessionSummary
from sessionbat.server.store.protocol import Store

#: Parts of events are forgotten when nothing has come to their trace for so long.
SPANS_KEPT: Final = timedelta(hours=24)

#: Less than this no store needs.
MIN_STORE_BYTES: Final = 4 * 1024 * 1024

_INTERVAL: Final = 60.0
# Seconds between two checks of the size alone, and the growth since the last deletion that starts
# the next one: a store can stay too large when there is nothing more to delete.
_LOOK: Final = 1.0
_GROWN: Final = 1.02
_SESSIONS: Final = 1000
# Below the limit, so that not each new event sets everything in motion.
_FILLED: Final = 0.95
# The words of deleted events leave the text index when it is merged, which writes all of it anew:
# each time that so many events of those there are have gone.
_MERGED_PART: Final = 0.05

_log = logging.getLogger("sessionbat.server")


@dataclass(frozen=True, slots=True)
class Retention:
    """The limits on age and size of stored sessions.

    Raises:
        ConfigurationError: A limit is too small to be intended.
    """

    #: Sessions without activity for longer than this go.
    max_age: timedelta | None = None
    #: When the store takes more room, sessions go until it does not.
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        """Check the limits."""
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
        """Whether nothing is ever deleted."""
        return self.max_age is None and self.max_bytes is None


def foresee(store: Store, retention: Retention, now: datetime) -> Removed:
    """Return what ``enforce`` would delete, without deleting; the size is an estimate."""
    size, count = store.size_bytes(), max(1, store.count_events())
    old = _idle_since(store, _oldest_kept(retention, now))
    events = sum(session.events for session in old.values())
    left = size - events * size / count
    sessions = len(old)
    if retention.max_bytes is not None and left > retention.max_bytes:
        part = 1 - retention.max_bytes * _FILLED / left
        for app, share in _shares(_without(store.measure_apps(), old), part).items():
            for session in _first(_idle_of(store, app, old), share):
                sessions += 1
                events += session.events
    return Removed(sessions, events, round(events * size / count))


def enforce(
    store: Store,
    retention: Retention,
    now: datetime,
    on_progress: Callable[[int], None] = lambda _events: None,
) -> Removed:
    """Delete the sessions beyond the limits, in steps that let others write in between.

    Only ``Store.compact`` gives room back: it is called here for a limit on the size; for one on
    the age, the caller has to call it.

    Args:
        store: The store to delete from.
        retention: The limits.
        now: The current time.
        on_progress: Called with the number of newly deleted events; may raise to stop.
    """
    removed = _delete_old(store, _oldest_kept(retention, now), on_progress)
    if retention.max_bytes is not None and store.size_bytes() > retention.max_bytes:
        removed += _make_room(store, int(retention.max_bytes * _FILLED), on_progress)
    return removed


class RetentionKeeper:
    """Enforces retention while a server runs, in a thread of its own, and forgets old spans.

    Args:
        store: The store to delete from.
        retention: The limits.
        interval: Seconds between two runs.
        clock: Returns the current time.
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
        self._thread = Background(
            "sessionbat-retention",
            self._turn,
            failing="retention failed",
            retry_s=interval,
            is_told=is_told_already,
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Finish the current step, then stop."""
        self._thread.close()

    def _turn(self) -> bool:
        try:
            self._store.forget_spans(self._clock() - SPANS_KEPT)
            if not self._retention.keeps_all:
                self._enforce()
        except _Stopped:
            return False
        return not self._wait()

    def _wait(self) -> bool:
        """Wait for the interval, or until the store is too large; True when the thread has to end.

        A hostile sender may store a hundred megabytes within a minute.
        """
        left = self._interval
        most = self._size_limit()
        while left > 0:
            if self._thread.pause(min(left, _LOOK)):
                return True
            left -= _LOOK
            if self._store.size_bytes() > most:
                return False
        return False

    def _size_limit(self) -> float:
        if self._retention.max_bytes is None:
            return math.inf
        return max(self._retention.max_bytes, self._store.size_bytes() * _GROWN)

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
        if self._thread.is_closing:
            raise _Stopped


class _Stopped(Exception):
    """The server is stopping; the rest is deleted after the next start."""


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
    """Delete until the store is below its limit, from the largest apps first.

    So an app with many events does not cost other apps their sessions.
    """
    removed = Removed()
    while (over := store.size_bytes() - size) > 0:
        before = removed
        # An event takes its part of everything: what goes is guessed, then measured.
        for app, events in _shares(store.measure_apps(), over / (over + size)).items():
            removed += _delete_idle(store, app, events, on_progress)
        store.compact(lambda _done, _total: on_progress(0))
        if removed == before:
            break  # what is left is not events
    return removed


def _delete_idle(
    store: Store, app: str, events: float, on_progress: Callable[[int], None]
) -> Removed:
    """Delete an app's longest idle sessions until a number of events is reached."""
    removed = Removed()
    while events > 0:
        idle = _first(store.list_idle_sessions(app=app, limit=_SESSIONS), events)
        if not idle:
            break
        removed += store.delete_sessions(_keys(idle), on_progress=on_progress)
        events -= sum(session.events for session in idle)
    return removed


def _shares(apps: Sequence[AppMeasures], part: float) -> dict[str, float]:
    """Compute how many events each app has to lose, to free a fraction of all bytes.

    The largest apps are cut to the same size; apps below it lose nothing.
    """
    largest = sorted((app for app in apps if app.bytes), key=lambda app: -app.bytes)
    to_go = part * sum(app.bytes for app in largest)
    cut, level = list[AppMeasures](), 0.0
    for n, app in enumerate(largest):
        cut.append(app)
        level = max(0.0, (sum(each.bytes for each in cut) - to_go) / len(cut))
        if n + 1 == len(largest) or level >= largest[n + 1].bytes:
            break
    return {app.app: app.events * (app.bytes - level) / app.bytes for app in cut}


_Sessions = dict[tuple[str, str], SessionSummary]


def _idle_since(store: Store, before: datetime | None) -> _Sessions:
    """Find all sessions without activity since a time."""
    ask = _SESSIONS
    while before is not None:
        idle = store.list_idle_sessions(before=before, limit=ask)
        if len(idle) < ask:
            return {(session.app, session.session_id): session for session in idle}
        ask *= 4
    return {}


def _without(apps: Sequence[AppMeasures], gone: _Sessions) -> list[AppMeasures]:
    events: Counter[str] = Counter()
    for (app, _), session in gone.items():
        events[app] += session.events
    return [
        AppMeasures(
            each.app,
            each.events - events[each.app],
            round(each.bytes * (1 - events[each.app] / each.events)),
        )
        for each in apps
    ]


def _idle_of(store: Store, app: str, gone: _Sessions) -> Iterator[SessionSummary]:
    """Yield an app's sessions, the longest idle first, skipping those deleted meanwhile."""
    seen, ask = 0, _SESSIONS
    while True:
        idle = store.list_idle_sessions(app=app, limit=ask)
        for session in idle[seen:]:
            if (session.app, session.session_id) not in gone:
                yield session
        if len(idle) < ask:
            return
        seen, ask = len(idle), ask * 4


def _first(sessions: Iterable[SessionSummary], events: float) -> list[SessionSummary]:
    """Take sessions from the front until they hold a number of events together."""
    taken = []
    for session in sessions:
        if events <= 0:
            break
        taken.append(session)
        events -= session.events
    return taken


def _keys(sessions: list[SessionSummary]) -> list[tuple[str, str]]:
    return [(session.app, session.session_id) for session in sessions]
