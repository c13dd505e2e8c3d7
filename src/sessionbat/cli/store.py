"""``sessionbat store check`` and ``salvage``: is a file whole, and what can be saved of it."""

from __future__ import annotations

from pathlib import Path

import click

from sessionbat.cli.stores import bar, prices_option, store_option, written


@click.group()
def store() -> None:
    """Check a store's file, or copy the readable part of a damaged one."""


@store.command()
@store_option
def check(store_url: str) -> int:
    """Check a store's pages and events, and compare derived data with the events.

    A server may run meanwhile; nothing is changed. Exit code 1 when something is not as it should
    be.
    """
    from sessionbat.server.store.opening import check as findings_of

    with bar("Reading") as on_progress:
        findings = list(findings_of(store_url, on_progress))
    for finding in findings:
        click.echo(f"{'ok' if finding.is_well else 'BAD':5}{finding.what:20}{finding.said}")
    if all(finding.is_well for finding in findings):
        return 0
    click.echo(
        "Where pages or events are bad: restore a backup, or sessionbat store salvage FILE."
        " Where only what is derived is: sessionbat rebuild.",
        err=True,
    )
    return 1


@store.command()
@click.argument("file", type=click.Path(path_type=Path))
@store_option
@prices_option
def salvage(file: Path, store_url: str, prices: Path | None) -> int:
    """Copy everything readable from a damaged store to the new store FILE.

    The damaged file is not changed. Exit code 1 when something could not be read.
    """
    from sessionbat.server.store.opening import salvage as make_new_of

    with bar("Reading") as on_progress:
        found = make_new_of(store_url, file, prices=prices, on_progress=on_progress)
    click.echo(
        f"{file}: {found.events:,} events, {found.keys} keys, {written(file.stat().st_size)}"
    )
    if found.unreadable:
        click.echo(f"{found.unreadable:,} events could not be read.", err=True)
    if not found.has_all_keys:
        click.echo("The keys could not all be read; make new ones.", err=True)
    return int(bool(found.unreadable) or not found.has_all_keys)
