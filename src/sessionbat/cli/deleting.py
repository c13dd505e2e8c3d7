"""``sessionbat delete`` and ``sessionbat retention``: what leaves the store, and for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from sessionbat.cli.stores import Duration, Size, bar, store_option, written
from sessionbat.errors import ConfigurationError

if TYPE_CHECKING:
    from sessionbat.server.records import Removed, SessionSummary
    from sessionbat.server.store.opening import Store

#: As long as labels are kept: two longer ids that begin alike would be taken for one.
MAX_USER_CHARACTERS = 200


@click.command()
@store_option
@click.option("--user", metavar="ID", help="Delete the sessions with an event of this user_id.")
@click.option("--session", metavar="ID", help="Delete this session.")
@click.option("--app", metavar="NAME", help="Only in this app. [default: all apps]")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(
    store_url: str, user: str | None, session: str | None, app: str | None, yes: bool
) -> int:
    """Delete a user's sessions, or one session, with all derived data.

    Sessions go whole. A server may run meanwhile. Backups are not changed; those beside the store
    are named.
    """
    from sessionbat.server.store.opening import copies_beside, open_existing_store

    _check_choice(user, session)
    store = open_existing_store(store_url)
    try:
        found = list(_chosen(store, user, session, app))
        if not found:
            click.echo("There is no such session; nothing was deleted.")
            return 1
        events = sum(each.observations for each in found)
        if not yes:
            click.confirm(
                f"Delete {len(found):,} sessions with {events:,} events for good?",
                abort=True,
                err=True,
            )
        with bar("Deleting") as on_progress:
            done = _Count(on_progress, events)
            removed = store.delete_sessions(
                [(each.app, each.session_id) for each in found], on_progress=done
            )
        is_clean = _compact(store)
    finally:
        store.close()
    click.echo(f"Deleted {_told(removed)}.")
    for copy in copies_beside(store_url):
        click.echo(f"{copy} may still hold them; so may backups elsewhere and exports.")
    if not is_clean:
        click.echo(
            "Something was reading the store's log all the time, which still holds old pages;"
            " delete again, or stop the server once.",
            err=True,
        )
    return 0 if is_clean else 1


@click.command()
@store_option
@click.option(
    "--max-age", type=Duration(), help="Delete sessions without activity for this time, e.g. 30d."
)
@click.option(
    "--max-size",
    type=Size(),
    help="Delete the longest idle sessions until the store is smaller, e.g. 20GB.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
def retention(
    store_url: str, max_age: timedelta | None, max_size: int | None, dry_run: bool
) -> None:
    """Delete sessions over a limit on age or on the store's size, once.

    `sessionbat serve --retention-days --max-size` does it by itself. A server may run meanwhile.
    """
    from sessionbat.server.ops.retention import Retention, enforce, foresee
    from sessionbat.server.store.opening import open_existing_store

    kept = Retention(max_age, max_size)
    if kept.keeps_all:
        raise ConfigurationError(
            "no limit is given; use --max-age, --max-size or both", slug="no-retention"
        )
    now = datetime.now(UTC)
    store = open_existing_store(store_url)
    try:
        foreseen = foresee(store, kept, now)
        if dry_run:
            click.echo(f"Would delete about {_told(foreseen)}.")
            return
        with bar("Deleting") as on_progress:
            removed = enforce(store, kept, now, _Count(on_progress, foreseen.events))
        if removed.sessions:
            _compact(store)
        size = store.size_bytes()
    finally:
        store.close()
    click.echo(f"Deleted {_told(removed)}; the store takes {written(size)} now.")


def _check_choice(user: str | None, session: str | None) -> None:
    if (user is None) == (session is None):
        raise ConfigurationError(
            "delete one user's sessions or one session; give --user or --session", slug="no-choice"
        )
    if user is not None and len(user) > MAX_USER_CHARACTERS:
        raise ConfigurationError(
            f"a user's id can have at most {MAX_USER_CHARACTERS} characters here, and this one has"
            f" {len(user)}; delete the sessions with --session",
            slug="long-user",
        )


def _chosen(
    store: Store, user: str | None, session: str | None, app: str | None
) -> Iterator[SessionSummary]:
    from sessionbat.server.records import SessionFilter

    if session is not None:
        for name in store.list_apps() if app is None else [app]:
            found = store.get_session(name, session)
            if found is not None:
                yield found
        return
    assert user is not None
    where, after = SessionFilter(context=(("user_id", user),)), None
    while True:
        page = store.list_sessions(app=app, where=where, limit=1000, after=after)
        yield from page.items
        after = page.next
        if after is None:
            return


def _compact(store: Store) -> bool:
    with bar("Giving back room") as on_progress:
        return store.compact(on_progress)


def _told(removed: Removed) -> str:
    return (
        f"{removed.sessions:,} sessions with {removed.events:,} events, {written(removed.bytes)} on"
        " the disk"
    )


class _Count:
    """Adds up deleted events for a progress bar."""

    def __init__(self, on_progress: Callable[[int, int], None], total: int) -> None:
        self._on_progress = on_progress
        self._done = 0
        self._total = total

    def __call__(self, events: int) -> None:
        self._done += events
        self._on_progress(self._done, max(self._total, self._done))
