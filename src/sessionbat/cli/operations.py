"""``sessionbat backup``, ``restore`` and ``rebuild``: a store as a whole."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from sessionbat.cli.stores import bar, prices_option, store_option, written


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@store_option
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
def backup(file: Path, store_url: str, force: bool) -> None:
    """Copy a snapshot of the store to FILE; a server may be running.

    FILE is a store itself. It gets its name when it is whole and on the disk.
    """
    from sessionbat.server.store.opening import back_up

    with bar("Copying") as on_progress:
        back_up(store_url, file, overwrite=force, on_progress=on_progress)
    click.echo(f"{file}: {written(file.stat().st_size)}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@store_option
def restore(file: Path, store_url: str) -> None:
    """Replace the store by the backup FILE; stop the server first.

    The copy is checked from end to end before anything is changed. What was in its place is kept
    beside it, and named.
    """
    from sessionbat.server.store.opening import restore as put_back

    with bar("Copying") as on_progress:
        kept = put_back(store_url, file, now=datetime.now(UTC), on_progress=on_progress)
    click.echo(f"{store_url} is {file} again.")
    if kept is not None:
        click.echo(f"What was there before is kept as {kept}; delete it when you are content.")


@click.command()
@store_option
@prices_option
def rebuild(store_url: str, prices: Path | None) -> None:
    """Rebuild all derived data from the events; stop the server first.

    Derived are titles, sums, labels, estimated costs, statistics and the text index. It is one
    transaction for the most part, in which a server could not store anything; cut short, it changes
    nothing.
    """
    from sessionbat.server.store.opening import rebuild as make_anew

    with bar("Rebuilding") as on_progress:
        count, kept = make_anew(
            store_url, now=datetime.now(UTC), prices=prices, on_progress=on_progress
        )
    click.echo(f"Everything derived from {count:,} events is made anew.")
    if kept is not None:
        click.echo(f"The file was damaged, and a new one made; the old one is kept as {kept}.")
