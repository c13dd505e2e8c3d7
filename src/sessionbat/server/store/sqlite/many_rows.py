"""Inserts or looks up many rows with one statement; a row is a named tuple of its columns.

The driver releases Python's lock for each row that it inserts or reads, and then has to wait for
other threads to get it back. So a busy writer combines its rows into few statements.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator, Sequence
from itertools import chain, count
from typing import Any, Final, NamedTuple

#: The limit of values for one statement; an SQLite with STRICT tables allows 32,766.
_MAX_VALUES: Final = 4096


def columns(row: type[NamedTuple]) -> str:
    """List the columns of a row class for a statement."""
    return ", ".join(row._fields)


def insert_into(table: str, row: type[NamedTuple]) -> str:
    """Write the start of the statement that inserts such rows, up to VALUES."""
    return f"INSERT INTO {table} ({columns(row)})"


def places_of(row: type[NamedTuple]) -> str:
    """Write the placeholders of a row's values."""
    return f"({', '.join('?' * len(row._fields))})"


def insert_many(
    connection: sqlite3.Connection, insert: str, rows: Sequence[tuple[Any, ...]], then: str = ""
) -> None:
    """Insert rows: ``insert`` ends before the values, ``then`` follows them."""
    for values, parameters in _values(rows):
        connection.execute(f"{insert} {values} {then}", parameters)


def with_values(
    connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Run a statement with rows in place of ``{}``: a table of ``column1``, ``column2``, …"""
    found: list[tuple[Any, ...]] = []
    for values, parameters in _values(rows):
        found += connection.execute(statement.format(f"({values})"), parameters).fetchall()
    return found


class Numbered(NamedTuple):
    """A row's number, and whether the row has yet to be inserted."""

    number: int
    is_new: bool


def number_rows(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    keys: Sequence[tuple[Any, ...]],
    surely_new: Container[int] = (),
) -> list[Numbered]:
    """Find the numbers of rows by their keys; missing rows get the number to insert them under.

    Args:
        connection: Inside the transaction that inserts the missing rows.
        table: The table; its ``id`` is the number.
        columns: The columns of a key; unique together.
        keys: The keys, each once.
        surely_new: Positions of keys that are known to be missing.
    """
    matches = " AND ".join(f"{name} = column{place}" for place, name in enumerate(columns, 2))
    asked = [(place, *key) for place, key in enumerate(keys) if place not in surely_new]
    there = dict(
        with_values(
            connection, f"SELECT column1, id FROM {{}} CROSS JOIN {table} ON {matches}", asked
        )
    )
    to_come = _numbers_to_come(connection, table)
    return [
        Numbered(there[place], is_new=False)
        if place in there
        else Numbered(next(to_come), is_new=True)
        for place in range(len(keys))
    ]


def _numbers_to_come(connection: sqlite3.Connection, table: str) -> Iterator[int]:
    """Yield new numbers from the highest that the table ever had; queried on first use."""
    # Where there is one, the sequence: it also knows of rows that are deleted.
    (last,) = connection.execute(
        f"SELECT max(coalesce((SELECT max(id) FROM {table}), 0),"
        " coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0))",
        (table,),
    ).fetchone()
    yield from count(last + 1)


def _values(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield rows in groups of powers of two, so that there are few statements to compile and cache.

    The driver's cache also keeps the last values of each statement.
    """
    if not rows:
        return
    places = f"({', '.join('?' * len(rows[0]))})"
    most = _power_of_two(_MAX_VALUES // len(rows[0]))
    start = 0
    while start < len(rows):
        some = rows[start : start + min(most, _power_of_two(len(rows) - start))]
        yield f"VALUES {', '.join([places] * len(some))}", [*chain.from_iterable(some)]
        start += len(some)


def _power_of_two(most: int) -> int:
    return 1 << most.bit_length() - 1
