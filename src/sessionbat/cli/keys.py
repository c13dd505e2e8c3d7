"""``sessionbat keys``: who may write to a store's server, and who may read."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sessionbat.cli.stores import store_option
from sessionbat.errors import ConfigurationError

if TYPE_CHECKING:
    from sessionbat.server.records import KeyKind, StoredKey


@click.group()
def keys() -> None:
    """Create, list and revoke the keys of a server.

    The first key closes the server: from then on every request needs one. A running server knows
    at once of what is done here.
    """


@keys.command("create")
@click.option(
    "--kind",
    type=click.Choice(["ingest", "read", "admin", "feedback"]),
    default="ingest",
    show_default=True,
    help="ingest writes to one app; read reads one app, or all; admin may do everything; feedback"
    " sends what users say from the web pages of one app.",
)
@click.option("--app", metavar="NAME", help="The app; a read key without one is for every app.")
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Of a feedback key: pages that may use it, https://shop.example.com; may be repeated.",
)
@click.option("--name", default="", metavar="TEXT", help="What the key is used for.")
@store_option
def create_key(
    kind: KeyKind, app: str | None, origins: tuple[str, ...], name: str, store_url: str
) -> None:
    """Create a key and print it; it is shown only once, as only its hash is stored.

    The key alone goes to standard output, everything else to standard error. The store is made
    when it is not there.
    """
    from sessionbat.server.access.keys import new_key
    from sessionbat.server.store.opening import open_store

    key, stored = new_key(kind, app, name, origins)
    with closing(open_store(store_url)) as store:
        store.add_key(stored)
    click.echo(key)
    click.echo(f"{_what_for(stored)}, in {store_url}. It is shown this once; keep it.", err=True)


@keys.command("list")
@store_option
def list_keys(store_url: str) -> None:
    """List all keys ever created, without their secrets."""
    from sessionbat.server.store.opening import open_existing_store

    with closing(open_existing_store(store_url)) as store:
        found = store.list_keys()
    if not found:
        click.echo(f"No keys in {store_url}: its server is open, on loopback.")
        return
    table = Table(box=SIMPLE)
    for heading in ("Id", "Kind", "App", "Name", "Origins", "Created", "Revoked"):
        table.add_column(heading, overflow="fold")
    for key in found:
        app = "every app" if key.app is None else key.app
        revoked = "" if key.revoked_at is None else _moment(key.revoked_at)
        row = (
            key.id,
            key.kind,
            app,
            key.name,
            " ".join(key.origins),
            _moment(key.created_at),
            revoked,
        )
        table.add_row(*map(Text, row))
    Console().print(table)


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@store_option
def revoke_key(key_id: str, store_url: str) -> None:
    """Revoke the key with this id (see `list`), effective from the next request."""
    from sessionbat.server.store.opening import open_existing_store

    with closing(open_existing_store(store_url)) as store:
        if not store.revoke_key(key_id):
            raise ConfigurationError(
                f"no key in {store_url} has this id; see: sessionbat keys list",
                slug="no-such-key",
            )
    click.echo(f"Revoked {key_id}.")


def _what_for(key: StoredKey) -> str:
    app = "every app" if key.app is None else f"the app {key.app}"
    does = {
        "ingest": "writes to",
        "read": "reads",
        "admin": "may do everything with",
        "feedback": "sends feedback to",
    }[key.kind]
    pages = f" from {', '.join(key.origins)}" if key.origins else ""
    return f"Key {key.id} {does} {app}{pages}"


def _moment(at: str) -> str:
    return f"{at[:10]} {at[11:16]} UTC"
