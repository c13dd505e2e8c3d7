"""Stores the labels of sessions: each label once per app, each pair of label and session once.

A label counts its sessions, so that a filter can start with the rarest one.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence, Set
from typing import Final, NamedTuple

from sessionbat.server.reading.figures import Label
from sessionbat.server.store.sqlite.known_rows import KnownRows, KnownSession
from sessionbat.server.store.sqlite.many_rows import (
    insert_into,
    insert_many,
    number_rows,
    with_values,
)


class _LabelRow(NamedTuple):
    id: int
    app: int
    key: str
    value: str


class _Pair(NamedTuple):
    label: int
    session: int


_INSERT_LABELS: Final = insert_into("labels", _LabelRow)
_INSERT_PAIRS: Final = insert_into("session_labels", _Pair)


class Labelled(NamedTuple):
    """A session, and the labels that an append brings to it."""

    app: int
    session: KnownSession
    label_sets: Set[frozenset[Label]]


def add_labels(
    connection: sqlite3.Connection, labelled: Sequence[Labelled], known: KnownRows
) -> None:
    """Add to sessions the labels that they do not have yet."""
    not_had = [
        (session, (app, label))
        for app, session, label_sets in labelled
        for label in _not_had(session, label_sets, known)
    ]
    _know_rows(connection, [app_label for _, app_label in not_had], known)
    pairs = [(known.labels[app_label], session) for session, app_label in not_had]
    there = _find_pairs(
        connection, [(label, session.row) for label, session in pairs if not session.is_whole]
    )
    new = [pair for label, session in pairs if (pair := _Pair(label, session.row)) not in there]
    insert_many(connection, _INSERT_PAIRS, new)
    with_values(
        connection,
        "UPDATE labels SET sessions = sessions + column2 FROM {} WHERE id = column1",
        [*Counter(pair.label for pair in new).items()],
    )


def _not_had(
    session: KnownSession, label_sets: Set[frozenset[Label]], known: KnownRows
) -> set[Label]:
    """Return the labels that a session is not known to have, and mark them as known."""
    not_had: set[Label] = set()
    for labels in label_sets - session.label_sets:
        not_had |= labels - session.labels
        session.label_sets.add(labels)
        known.entries += 1
    session.labels |= not_had
    known.entries += len(not_had)
    return not_had


def _know_rows(
    connection: sqlite3.Connection, labels: Sequence[tuple[int, Label]], known: KnownRows
) -> None:
    """Find or insert the rows of labels; afterwards all are known."""
    unknown = [*dict.fromkeys(each for each in labels if each not in known.labels)]
    known.entries += len(unknown)
    rows = number_rows(
        connection, "labels", ("app", "key", "value"), [(app, *label) for app, label in unknown]
    )
    known.labels.update(zip(unknown, (row.number for row in rows), strict=True))
    new = [
        _LabelRow(row.number, app, key, value)
        for row, (app, (key, value)) in zip(rows, unknown, strict=True)
        if row.is_new
    ]
    insert_many(connection, _INSERT_LABELS, new)


def _find_pairs(
    connection: sqlite3.Connection, pairs: Sequence[tuple[int, int]]
) -> set[tuple[int, int]]:
    return {
        (label, session)
        for label, session in with_values(
            connection,
            "SELECT label, session FROM {} CROSS JOIN session_labels"
            " ON label = column1 AND session = column2",
            pairs,
        )
    }
