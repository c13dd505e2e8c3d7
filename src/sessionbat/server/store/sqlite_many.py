"""Many rows with one statement.

The driver lets go of Python's lock for each row that it inserts or reads, and takes it again, for
which it waits as long as another thread is let run. So what a busy writer asks, it asks at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

#: With the widest table below 999 values a statement, which is the least that any SQLite takes.
_AT_ONCE: Final = 50


def insert_many(
    connection: sqlite3.Connection, insert: str, rows: Sequence[tuple[Any, ...]], then: str = ""
) -> None:
    """Insert rows: ``insert`` ends before the values, ``then`` follows them."""
    for values, parameters in _values(rows):
        connection.execute(f"{insert} {values} {then}", parameters)


def with_values(
    connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Run a statement with rows in the place of ``{}``: a table of ``column1``, ``column2``, …"""
    found: list[tuple[Any, ...]] = []
    for values, parameters in _values(rows):
        found += connection.execute(statement.format(f"({values})"), parameters).fetchall()
    return found


def _values(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        places = f"({', '.join('?' * len(some[0]))})"
        yield f"VALUES {', '.join([places] * len(some))}", [*chain.from_iterable(some)]
