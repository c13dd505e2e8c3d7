"""``sessionbat spool``: what processes of this user could not deliver yet."""

from __future__ import annotations

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text


@click.group()
def spool() -> None:
    """Show and send events that this user's processes could not deliver yet.

    The next process of the same app delivers it by itself; these commands are for looking, and for
    machines where no such process will run.
    """


@spool.command("list")
def list_spool() -> None:
    """List spooled events by destination."""
    from sessionbat.spooled import list_spools

    waiting = list_spools()
    if not waiting:
        click.echo("Nothing waits.")
        return
    table = Table(box=SIMPLE)
    table.add_column("Endpoint")
    table.add_column("App")
    for heading in ("Events", "Bytes", "Oldest"):
        table.add_column(heading, justify="right")
    for one in waiting:
        age = f"{one.oldest_s / 60:,.0f} min"
        row = (one.endpoint, one.app or "·", f"{one.events:,}", f"{one.bytes:,}", age)
        table.add_row(*map(Text, row))
    Console().print(table)


@spool.command("send")
@click.option(
    "--timeout", default=30.0, show_default=True, help="Seconds without progress to wait."
)
def send_spool(timeout: float) -> int:
    """Send spooled events with SESSIONBAT_API_KEY, except those of running processes."""
    from sessionbat.spooled import list_spools, send

    left = 0
    for one in list_spools():
        with Progress(*Progress.get_default_columns(), console=Console(stderr=True)) as progress:
            task = progress.add_task(one.endpoint, total=one.events)
            sent = 0
            for sent in send(one, timeout):
                progress.update(task, completed=sent)
        left += one.events - sent
        click.echo(f"{sent:,} of {one.events:,} events delivered to {one.endpoint}")
    return 1 if left else 0


@spool.command("export")
def export_spool() -> None:
    """Write spooled events to standard output, one a line, in the format of `import`."""
    from sessionbat.spooled import list_spools, read_events

    for one in list_spools():
        for line in read_events(one):
            click.echo(line)
