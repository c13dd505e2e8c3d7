"""Checks a store: the file, the events in it, and the data derived from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from sessionbat.server.store.sqlite.payloads import PayloadReader

Progress = Callable[[int, int], None]

_MAX_LINES: Final = 20


class Finding(NamedTuple):
    """One check and its result."""

    what: str
    is_well: bool
    said: str


#: Pairs of queries on derived data and its source; their results should be equal.
_COMPARED: Final = {
    "payloads": ("SELECT count(*) FROM payloads", "SELECT count(*) FROM events"),
    "sums of sessions": (
        "SELECT coalesce(sum(observations + feedback), 0) FROM sessions",
        "SELECT count(*) FROM events",
    ),
    "errors of sessions": (
        "SELECT coalesce(sum(errors), 0) FROM sessions",
        "SELECT coalesce(sum(failed), 0) FROM events",
    ),
    "turns": (
        "SELECT coalesce(sum(interactions), 0) FROM sessions",
        "SELECT count(*) FROM interactions",
    ),
    "statistics": (
        "SELECT coalesce(sum(count), 0) FROM rollups WHERE span = 'day' AND dimension = ''",
        "SELECT count(*) FROM events WHERE kind <> 'feedback'"
        " AND id <= (SELECT up_to FROM progress WHERE name = 'statistics')",
    ),
    "messages": (
        "SELECT count(*) FROM messages",
        "SELECT count(*) FROM messages JOIN events ON events.id = messages.event",
    ),
}


def check(path: Path, on_progress: Progress = lambda _done, _total: None) -> Iterator[Finding]:
    """Check a store's file, from its pages to each event; safe while it is in use.

    Args:
        path: The file; it is not changed.
        on_progress: Called with the number of events read and the total.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.isolation_level = None
        yield _pages(connection)
        connection.execute("BEGIN")  # one state of it for what is compared
        for what, (derived, truth) in _COMPARED.items():
            yield _compared(connection, what, derived, truth)
        yield _readable(connection, on_progress)


def _pages(connection: sqlite3.Connection) -> Finding:
    try:
        lines = [line for (line,) in connection.execute(f"PRAGMA integrity_check({_MAX_LINES})")]
    except sqlite3.DatabaseError as exc:
        lines = [str(exc)]
    is_well = lines == ["ok"]
    return Finding("pages", is_well, "every page is whole" if is_well else _short(lines))


def _short(lines: list[str]) -> str:
    text = "; ".join(line for each in lines for line in each.splitlines() if line)
    return text if len(text) < 300 else f"{text[:300]}…"


def _compared(connection: sqlite3.Connection, what: str, derived: str, truth: str) -> Finding:
    try:
        ((found,), (right,)) = (connection.execute(text).fetchone() for text in (derived, truth))
    except sqlite3.DatabaseError as exc:
        return Finding(what, False, str(exc))
    return Finding(
        what, found == right, f"{found:,}" if found == right else f"{found:,} instead of {right:,}"
    )


def _readable(connection: sqlite3.Connection, on_progress: Progress) -> Finding:
    payloads = PayloadReader()
    good = bad = 0
    try:
        (total,) = connection.execute("SELECT count(*) FROM payloads").fetchone()
        for codec, data in connection.execute("SELECT codec, data FROM payloads"):
            try:
                orjson.loads(payloads.decode(connection, codec, data))
                good += 1
            except Exception:  # noqa: BLE001 - a damaged frame may be anything; it is counted
                bad += 1
            if not good % 1000:
                on_progress(good + bad, total)
    except sqlite3.DatabaseError as exc:
        return Finding("events", False, f"{good:,} can be read, then: {exc}")
    return Finding(
        "events", not bad, f"{good:,} can be read" + (f", {bad:,} cannot" if bad else "")
    )
