"""``sessionbat export``: events as they were received, one a line, as ``import`` takes them."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from sessionbat.cli.stores import Moment, bar, store_option
from sessionbat.errors import StoreError

if TYPE_CHECKING:
    from sessionbat.server.records import EventFilter
    from sessionbat.server.store.opening import Store


@click.command()
@store_option
@click.option("--app", metavar="NAME", help="Only events of this app.")
@click.option("--session", metavar="ID", help="Only events of this session.")
@click.option("--user", metavar="ID", help="Only sessions with an event of this user_id.")
@click.option("--from", "since", type=Moment(), help="Only events at this time or later.")
@click.option("--to", "until", type=Moment(), help="Only events before this time.")
@click.option("--kind", metavar="KIND", help="Only events of this kind: llm, tool, retrieval.")
@click.option(
    "--error/--no-error", "error", default=None, help="Only failed events, or only successful ones."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write to this file; compressed when it ends in .gz. [default: standard output]",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def export(
    store_url: str,
    app: str | None,
    session: str | None,
    user: str | None,
    since: datetime | None,
    until: datetime | None,
    kind: str | None,
    error: bool | None,
    output: Path | None,
    force: bool,
) -> int:
    """Export events as received, one a line; a server may be running.

    What cannot be read in a damaged store is left out, counted, and makes the exit code 1.
    `sessionbat import --format events` takes them back: same ids, same times, same content.
    """
    from sessionbat.server.records import EventFilter
    from sessionbat.server.store.opening import open_existing_store

    where = EventFilter(
        app=app,
        session_id=session,
        user_id=user,
        kind=kind,
        error=error,
        since=since,
        until=until,
    )
    store = open_existing_store(store_url)
    try:
        if output is None:
            _, unreadable = _write(store, where, sys.stdout.buffer)
        else:
            with _whole_file(output, force) as stream:
                count, unreadable = _write(store, where, stream)
            click.echo(f"{output}: {count:,} events")
    finally:
        store.close()
    if unreadable:
        click.echo(
            f"{unreadable:,} events could not be read; see sessionbat store check [damaged-store]",
            err=True,
        )
    return int(unreadable > 0)


def _write(store: Store, where: EventFilter, stream: IO[bytes]) -> tuple[int, int]:
    """Write every readable event; return the numbers of readable and unreadable ones."""
    total, count, unreadable, after = store.count_events(), 0, 0, None
    with bar("Exporting") as on_progress:
        while True:
            page = store.list_received(where, after=after)
            for item in page.items:
                stream.write(one_line(item.raw))
            count += len(page.items)
            unreadable += page.unreadable
            on_progress(count, total)
            after = page.next
            if after is None:
                stream.flush()
                return count, unreadable


def one_line(raw: bytes) -> bytes:
    """Write an event in one line without changing it: a line break in JSON is only white space."""
    return raw.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"


@contextmanager
def _whole_file(path: Path, overwrite: bool) -> Iterator[IO[bytes]]:
    """Give a file its final name once it is complete."""
    if path.exists() and not overwrite:
        raise StoreError(
            f"{str(path)!r} already exists; name another file, or overwrite it with --force",
            slug="file-exists",
        )
    part = path.with_name(f"{path.name}.part")
    try:
        with gzip.open(part, "wb", 6) if path.suffix == ".gz" else part.open("wb") as stream:
            yield stream  # type: ignore[misc]
        part.replace(path)
    except OSError as exc:
        raise StoreError(
            f"cannot write {str(path)!r}: {exc.strerror}; check the directory and the free disk"
            " space",
            slug="cannot-write",
        ) from exc
    finally:
        part.unlink(missing_ok=True)
