"""``sessionbat serve`` and ``sessionbat demo``: a server in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from sessionbat.cli.stores import Size, prices_option

LogFormat = Literal["text", "json"]


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; any but loopback needs a key, see `sessionbat keys`.",
)
@click.option("--port", default=8787, show_default=True, help="Port to serve; 0 takes a free one.")
@click.option(
    "--store",
    "store_url",
    default="sqlite:///sessionbat.db",
    show_default=True,
    metavar="URL",
    help="Where to store events; the file is created if it is missing.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="An additional host name of the server, e.g. behind a proxy; may be repeated.",
)
@click.option(
    "--root-path",
    default="",
    metavar="PATH",
    help="The path below which a proxy serves it, e.g. /bat.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy's address or network, whose X-Forwarded headers are trusted; may be repeated.",
)
@click.option(
    "--retention-days",
    type=float,
    metavar="N",
    help="Delete sessions without activity for this many days.",
)
@click.option(
    "--max-size",
    type=Size(),
    help="Delete the longest idle sessions when the store is larger, e.g. 20GB.",
)
@prices_option
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="The format of the log on standard error.",
)
@click.option("--access-log", is_flag=True, help="Log a line for each request, by its route.")
def serve(
    host: str,
    port: int,
    store_url: str,
    allowed_hosts: tuple[str, ...],
    root_path: str,
    trusted_proxies: tuple[str, ...],
    retention_days: float | None,
    max_size: int | None,
    prices: Path | None,
    log_format: LogFormat,
    access_log: bool,
) -> None:
    """Run a SessionBat server until Ctrl-C.

    It takes events at /api/v1/ingestion/events and shows sessions at /sessions. Record into it
    with SessionBat(endpoint="http://127.0.0.1:8787"); on loopback no key is needed until
    `sessionbat keys create` has made the first one.
    """
    from sessionbat.server.ops.logs import configure_logging
    from sessionbat.server.serving import serve as serve_until_stopped
    from sessionbat.server.settings import Settings

    configure_logging(log_format)
    settings = Settings(
        host=host,
        port=port,
        store_url=store_url,
        allowed_hosts=allowed_hosts,
        root_path=root_path,
        trusted_proxies=trusted_proxies,
        retention_days=retention_days,
        max_store_bytes=max_size,
        prices=prices,
        access_log=access_log,
    )
    serve_until_stopped(settings, announce=log_format == "text")


@click.command()
@click.option("--once", is_flag=True, help="Exit after the table instead of serving.")
@click.option(
    "--store",
    "store_url",
    metavar="URL",
    help="Keep the sessions in this store, e.g. sqlite:///demo.db. [default: a temporary one]",
)
@click.option("--port", default=0, help="Port to serve. [default: a free one]")
def demo(once: bool, store_url: str | None, port: int) -> int:
    """Record some thirty sessions of a support bot, and serve them on pages.

    Nothing leaves this machine: the bot's model follows a script, and the events go over HTTP to a
    server that the demo starts. Among the sessions are solved ones, a bot that calls one tool again
    and again, a search that finds nothing, a rate limit, and users who give up.
    """
    from sessionbat.demo.run import run_demo

    return run_demo(Console(), store_url=store_url, port=port, once=once)
