"""``sessionbat import``: exported events and chat transcripts, sent through the SDK."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, BinaryIO

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from sessionbat.errors import ImportFileError

if TYPE_CHECKING:
    from sessionbat._importing.forms import Form
    from sessionbat.importing import ImportSummary

#: Bad lines that are listed; those after them are only counted.
MAX_LISTED_BAD_LINES = 100


@click.command("import")
@click.argument("file", metavar="FILE")
@click.option(
    "--app",
    metavar="NAME",
    help="App to import into. [default: an event's own; for transcripts SESSIONBAT_APP, else the "
    "file's name]",
)
@click.option(
    "--endpoint",
    metavar="URL",
    help="Where to send. [default: SESSIONBAT_ENDPOINT, else the hosted service]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(
        ["events", "chat", "anthropic", "responses", "gemini", "bedrock", "langchain", "sharegpt"]
    ),
    help="The format of the file. [default: detected from its content]",
)
def import_(file: str, app: str | None, endpoint: str | None, form: Form | None) -> int:
    """Import exported events, or transcripts of conversations with tool calls.

    FILE holds JSON: one record a line, an array, or records pretty-printed one after the other;
    gzip and Zstandard are unpacked. It may be `-` for standard input. A record that cannot be read
    is reported with its line and skipped. Importing a file again stores nothing twice.

    The key is read from SESSIONBAT_API_KEY; an endpoint on loopback needs none.
    """
    from sessionbat.importing import import_lines
    from sessionbat.transports import IngestionTransport

    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with _open(file) as stream:
        transport = IngestionTransport(endpoint=endpoint)
        errors.print(f"Importing {_name(file)} into {transport.endpoint}")
        try:
            with _progress(errors, stream) as advance:
                summary = import_lines(
                    stream,
                    name=_name(file),
                    transport=transport,
                    form=form,
                    app=app,
                    on_bad_line=_BadLines(errors),
                    on_form=lambda form: errors.print(f"Reads as: {form}"),
                    on_progress=advance,
                )
        finally:
            transport.close(0)  # the import has waited for what could be delivered
    Console(highlight=False).print(_summary_table(summary))
    for line in _shortfalls(summary):
        errors.print(line, style="red")
    return 0 if summary.complete else 1


def _name(file: str) -> str:
    return "stdin" if file == "-" else file


@contextmanager
def _open(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - closed below; only opening may fail here
    except OSError as exc:
        raise ImportFileError(
            f"cannot read {file!r}: {exc.strerror}. Give a file, or - for standard input.",
            slug="unreadable-file",
        ) from exc
    with stream:
        yield stream


@contextmanager
def _progress(console: Console, stream: BinaryIO) -> Iterator[Callable[[int], None]]:
    """Show how much has been read and, for a file of known length, how much is left."""
    columns = (
        TextColumn("Reading"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    status = os.fstat(stream.fileno())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=status.st_size if S_ISREG(status.st_mode) else None)
        yield lambda size: progress.advance(task, size)


class _BadLines:
    """Lists bad lines as they are read, up to a limit."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._left = MAX_LISTED_BAD_LINES

    def __call__(self, number: int, reason: str) -> None:
        self._left -= 1
        if self._left >= 0:
            self._console.print(f"line {number} skipped: {reason}")
        elif self._left == -1:
            self._console.print("more bad lines follow; they are counted only")


def _summary_table(summary: ImportSummary) -> Table:
    table = Table(title="Imported", title_justify="left", show_header=False, box=SIMPLE)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("app", Text(summary.app or "each event's own"))
    table.add_row("lines", str(summary.lines))
    table.add_row("bad lines, skipped", str(summary.bad_lines))
    table.add_row("sessions", str(summary.sessions))
    for kind, number in sorted(summary.observations.items()):
        table.add_row(Text(f"{kind} observations"), str(number))
    table.add_section()
    table.add_row("delivered", str(summary.delivered))
    table.add_row("not delivered", str(summary.undelivered))
    return table


def _shortfalls(summary: ImportSummary) -> Iterator[str]:
    """Print what is missing, a line for each reason."""
    if summary.stopped_at is not None:
        yield (
            f"Stopped at line {summary.stopped_at}: the endpoint takes nothing any more. Import "
            "the file again when it does; nothing is stored twice."
        )
    if summary.bad_lines:
        yield f"{summary.bad_lines} of {summary.lines} lines could not be read and were skipped."
    for reason, number in sorted(summary.dropped.items()):
        yield f"{number} observations were given up: {reason}"
    if summary.pending:
        yield f"{summary.pending} observations were not answered by the endpoint."
    if summary.unrecorded:
        yield f"{summary.unrecorded} observations were not recorded: is SESSIONBAT_ENABLED off?"
