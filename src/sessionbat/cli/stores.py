"""What the commands on a store share: how it is named, and a bar for what takes its time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_DURATION_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_SIZE_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}

store_option = click.option(
    "--store",
    "store_url",
    default="sqlite:///sessionbat.db",
    show_default=True,
    metavar="URL",
    help="The store.",
)


prices_option = click.option(
    "--prices",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Your own prices of models, by which costs are estimated; a TOML file.",
)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time span such as ``30d``: minutes, hours, days or weeks."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it; what is already one stays."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([0-9]{1,6})\s*([mhdw])", value.strip())
        if match is None or not int(match[1]):
            self.fail(f"{value!r} is no time span; write for example 12h, 30d or 8w", param, ctx)
        return timedelta(seconds=int(match[1]) * _DURATION_SECONDS[match[2]])


class Size(click.ParamType):  # type: ignore[type-arg]
    """A size such as ``20GB`` (powers of ten) or ``20GiB`` (powers of two), in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it; what is already a number stays."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([KMGT]?I?B)", value.strip().upper())
        if match is None or match[2] == "IB":
            self.fail(f"{value!r} is no size; write for example 500MB, 20GB or 20GiB", param, ctx)
        return int(float(match[1]) * _SIZE_BYTES[match[2]])


class Moment(click.ParamType):  # type: ignore[type-arg]
    """A time, RFC 3339, or a day; without a zone it is UTC."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it; what is already one stays."""
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; write 2026-11-22 or 2026-11-22T16:00:00Z", param, ctx)
        return at if at.tzinfo else at.replace(tzinfo=UTC)


@contextmanager
def bar(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal while the block runs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def written(size: int) -> str:
    """Write a number of bytes for a person."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000  # type: ignore[assignment]
    return f"{size:,.1f} GB"
