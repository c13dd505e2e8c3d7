"""Many rows with one statement; a row is a named tuple, whose fields are its columns.

The driver lets go of Python's lock for each row that it inserts or reads, and takes it again, for
which it waits as long as another thread is let run. So what a busy writer asks, it asks at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator, Sequence
from itertools import chain, count
from typing import Any, Final, NamedTuple

#: Of one statement; an SQLite that has STRICT tables takes 32,766.
_MAX_VALUES: Final = 4096


def columns(row: type[NamedTuple]) -> str:
    """List the columns of a kind of row, as they stand in a statement."""
    return ", ".join(row._fields)


def insert_into(table: str, row: type[NamedTuple]) -> str:
    """Write the statement that inserts rows of a kind, up to the values."""
    return f"INSERT INTO {table} ({columns(row)})"


def places_of(row: type[NamedTuple]) -> str:
    """Write the places of a row's values."""
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
    """Run a statement with rows in the place of ``{}``: a table of ``column1``, ``column2``, …"""
    found: list[tuple[Any, ...]] = []
    for values, parameters in _values(rows):
        found += connection.execute(statement.format(f"({values})"), parameters).fetchall()
    return found


class Numbered(NamedTuple):
    """A row's number, and whether it is yet to be inserted under it."""

    number: int
    is_new: bool


def number_rows(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    keys: Sequence[tuple[Any, ...]],
    surely_new: Container[int] = (),
) -> list[Numbered]:
    """Find the rows with these keys; what is not there gets the number of a row to come.

    Args:
        connection: Inside a transaction that inserts the new ones.
        table: Its ``id`` is the number.
        columns: What the keys are made of; unique together.
        keys: What to look for, each once.
        surely_new: The places of keys that need not be looked for.
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
    """Count on from the highest number a table ever had, which is asked for with the first."""
    # Where there is one, the sequence: it also knows of rows that are deleted.
    (last,) = connection.execute(
        f"SELECT max(coalesce((SELECT max(id) FROM {table}), 0),"
        " coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0))",
        (table,),
    ).fetchone()
    yield from count(last + 1)


def _values(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    """Give rows by powers of two: few statements to compile, and to be kept by the driver.

    It keeps what was last given to each as well.
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
