"""The labels of sessions: each label once an app, each pair of label and session once.

A label counts its sessions, so that a filter knows which of several is the rarest.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence, Set
from typing import NamedTuple

from sessionbat.server.store.reading import Label
from sessionbat.server.store.sqlite_known import KnownRows, KnownSession
from sessionbat.server.store.sqlite_many import insert_many, numbers_to_come, with_values


class Labelled(NamedTuple):
    """A session of an app, and what of labels an append brings to it."""

    app: int
    session: KnownSession
    label_sets: Set[frozenset[Label]]


def add_labels(
    connection: sqlite3.Connection, labelled: Sequence[Labelled], known: KnownRows
) -> None:
    """Give sessions the labels that they have not had."""
    unknown = [
        (session, (app, label))
        for app, session, label_sets in labelled
        for label in _not_known_of(session, label_sets, known)
    ]
    _know_rows(connection, [of_app for _, of_app in unknown], known)
    pairs = [(known.labels[of_app], session) for session, of_app in unknown]
    there = _find_pairs(
        connection, [(label, session.row) for label, session in pairs if not session.is_whole]
    )
    new = [pair for label, session in pairs if (pair := (label, session.row)) not in there]
    insert_many(connection, "INSERT INTO session_labels", new)
    with_values(
        connection,
        "UPDATE labels SET sessions = sessions + column2 FROM {} WHERE id = column1",
        [*Counter(label for label, _ in new).items()],
    )


def _not_known_of(
    session: KnownSession, label_sets: Set[frozenset[Label]], known: KnownRows
) -> set[Label]:
    """Find the labels that a session is not known to have; afterwards it is."""
    unknown: set[Label] = set()
    for labels in label_sets - session.label_sets:
        unknown |= labels - session.labels
        session.label_sets.add(labels)
        known.entries += 1
    session.labels |= unknown
    known.entries += len(unknown)
    return unknown


def _know_rows(
    connection: sqlite3.Connection, labels: Sequence[tuple[int, Label]], known: KnownRows
) -> None:
    """Find the rows of labels, and insert those that are new; afterwards all are known."""
    unknown = [*dict.fromkeys(label for label in labels if label not in known.labels)]
    if not unknown:
        return
    rows = [(app, key, value) for app, (key, value) in unknown]
    there = with_values(
        connection,
        "SELECT app, key, value, id FROM {} CROSS JOIN labels"
        " ON key = column2 AND value = column3 AND app = column1",
        rows,
    )
    known.labels.update(((app, (key, value)), number) for app, key, value, number in there)
    new = [label for label in unknown if label not in known.labels]
    known.labels.update(zip(new, numbers_to_come(connection, "labels"), strict=False))
    insert_many(
        connection,
        "INSERT INTO labels (id, app, key, value)",
        [(known.labels[app, label], app, *label) for app, label in new],
    )
    known.entries += len(unknown)


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
