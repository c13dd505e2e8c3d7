"""The commands: arguments in, an exit code out. What a command runs is imported when it runs.

Exit codes: 0 all done; 1 something is missing, and said; 2 cannot work as asked; 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
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

from sessionbat._version import __version__
from sessionbat.errors import ImportFileError, SessionBatError

if TYPE_CHECKING:
    from sessionbat._import_formats import Form
    from sessionbat.importing import ImportSummary

#: Bad lines that are listed; those after them are only counted.
MAX_LISTED_BAD_LINES = 100

_SERVER_PACKAGES = frozenset({"starlette", "uvicorn", "httptools", "jinja2", "zstandard"})
_INTERRUPTED = 130


def run(arguments: Sequence[str]) -> int:
    """Run a command; print what goes wrong as one line on standard error.

    Args:
        arguments: The words after the program's name.

    Returns:
        The exit code.
    """
    try:
        code = sessionbat.main(list(arguments), prog_name="sessionbat", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except SessionBatError as exc:
        return _fail(str(exc))
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _SERVER_PACKAGES:
            raise
        return _fail(f'this needs {exc.name}: pip install "sessionbat[server]" [no-server]')
    return code if isinstance(code, int) else 0


def _fail(message: str) -> int:
    click.echo(f"sessionbat: {message}", err=True)
    return 2


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sessionbat", message="%(prog)s %(version)s")
def sessionbat() -> None:
    """Record what an AI application did, and see it on a page.

    Start with `sessionbat demo`; run a server of your own with `sessionbat serve`.
    """


@sessionbat.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to serve.")
@click.option("--port", default=8787, show_default=True, help="Port to serve; 0 takes a free one.")
@click.option(
    "--store",
    "store_url",
    default="sqlite:///sessionbat.db",
    show_default=True,
    metavar="URL",
    help="Where to keep events; the file is made when it is not there.",
)
def serve(host: str, port: int, store_url: str) -> None:
    """Run a SessionBat server until Ctrl-C.

    It takes events at /api/v1/ingestion/events and shows sessions at /sessions. Record into it
    with SessionBat(endpoint="http://127.0.0.1:8787"); on loopback no key is needed.
    """
    from sessionbat.server.serving import serve as serve_until_stopped
    from sessionbat.server.settings import Settings

    serve_until_stopped(Settings(host=host, port=port, store_url=store_url))


@sessionbat.command()
@click.option("--once", is_flag=True, help="End after the table instead of serving on.")
@click.option(
    "--store",
    "store_url",
    metavar="URL",
    help="Keep the sessions in this store, e.g. sqlite:///demo.db. [default: a temporary one]",
)
@click.option("--port", default=0, help="Port to serve. [default: a free one]")
def demo(once: bool, store_url: str | None, port: int) -> int:
    """Watch a support bot being recorded: some thirty sessions, and a server to look at them.

    Nothing leaves this machine: the bot's model follows a script, and the events go over HTTP to a
    server that the demo starts. Among the sessions are solved ones, a bot that calls one tool again
    and again, a search that finds nothing, a rate limit, and users who give up.
    """
    from sessionbat.demo.run import run_demo

    return run_demo(Console(), store_url=store_url, port=port, once=once)


@sessionbat.group()
def spool() -> None:
    """See and send what processes of this user could not deliver yet.

    The next process of the same app delivers it by itself; these commands are for looking, and for
    machines where no such process will run.
    """


@spool.command("list")
def list_spool() -> None:
    """List what waits, by destination."""
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
    """Deliver what waits, with SESSIONBAT_API_KEY; running processes keep what they hold."""
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
    """Write what waits to standard output, one event a line, as `import` takes it."""
    from sessionbat.spooled import list_spools, read_events

    for one in list_spools():
        for line in read_events(one):
            click.echo(line)


@sessionbat.command("import")
@click.argument("file", metavar="FILE.jsonl")
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
    type=click.Choice(["events", "chat"]),
    help="What a line holds. [default: what the first readable line looks like]",
)
def import_(file: str, app: str | None, endpoint: str | None, form: Form | None) -> int:
    """Import exported events, or chat transcripts with tool calls, one JSON object a line.

    FILE.jsonl may be `-` for standard input. A line that cannot be read is reported with its
    number and skipped. Importing a file again stores nothing twice.

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
    """Show how much has been read, and of a file, whose length is known, how much is left."""
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
    """Lists bad lines as they are met; a file that is bad throughout does not fill the screen."""

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
    """Say what is missing, a line for each reason."""
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
