"""Runs the demo: a server of its own, the bot's sessions recorded into it, a table, an address."""

from __future__ import annotations

import json
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener
from uuid import uuid4

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sessionbat.client import SessionBat
from sessionbat.demo.scenarios import SCENARIOS
from sessionbat.errors import ConfigurationError
from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from sessionbat.server.store.opening import open_store, store_exists

APP = "support-bot"

# What the server says of a session, and how the table heads it.
_FIGURES = {
    "interactions": "Turns",
    "llm_calls": "Model\ncalls",
    "tool_calls": "Tool\ncalls",
    "retrievals": "Retrievals",
    "errors": "Errors",
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a run: its sessions' outcomes, and what the server says of each."""

    #: Outcome by session id.
    outcomes: Mapping[str, str]
    #: The server's summary by session id.
    summaries: Mapping[str, Mapping[str, Any]]
    undelivered: int

    @property
    def complete(self) -> bool:
        """Whether the server has every session, and took every observation."""
        return not self.undelivered and self.outcomes.keys() == self.summaries.keys()


def run_demo(console: Console, *, store_url: str | None, port: int, once: bool) -> int:
    """Record the demo's sessions, show what was recorded, and serve it until Ctrl-C.

    Args:
        console: Where to show it.
        store_url: Where to keep it; None takes a temporary store that ends with the demo.
        port: Where to listen; 0 takes a free one.
        once: End after the table.

    Returns:
        The exit code: 1 when something that was recorded did not arrive.

    Raises:
        SessionBatError: The server cannot start as it is set up.
    """
    with ExitStack() as cleanup:
        if store_url is None:
            directory = tempfile.TemporaryDirectory(prefix="sessionbat-demo-")
            store_url = f"sqlite:///{Path(cleanup.enter_context(directory)) / 'demo.db'}"
        _refuse_keys(store_url)
        base_url = cleanup.enter_context(running(Settings(port=port, store_url=store_url)))
        recorded = record(console, base_url)
        console.print(make_table(recorded))
        if not recorded.complete:
            console.print(
                f"[red]The server has {len(recorded.summaries)} of {len(recorded.outcomes)} "
                f"sessions; {recorded.undelivered} observations were not delivered.[/red]"
            )
        address = f"Open [bold]{base_url}/sessions[/bold]"
        if once:
            console.print(address, soft_wrap=True)
        else:
            with _asked_to_end() as end:
                console.print(address, soft_wrap=True)
                console.print("Press Ctrl-C to stop.")
                end.wait()
    return 0 if recorded.complete else 1


def _refuse_keys(store_url: str) -> None:
    """Refuse a store whose server would refuse the demo, which has no key."""
    if not store_exists(store_url):
        return
    store = open_store(store_url)
    has_keys = store.has_keys()
    store.close()
    if has_keys:
        raise ConfigurationError(
            f"the store {store_url} has keys, and the demo records without one; leave out --store"
            " or name another",
            slug="demo-keys",
        )


def record(console: Console, base_url: str) -> Recorded:
    """Play every scenario through the SDK into a server, showing the progress."""
    outcomes: dict[str, str] = {}
    # The server is ours: it gets neither the key nor the endpoint that the environment may hold.
    with (
        _progress(console) as advance,
        SessionBat(app=APP, endpoint=base_url, api_key="", default_tags=["demo"]) as client,
    ):
        # Here, because LangGraph takes seconds to load: what cannot work has been said before.
        from sessionbat.demo.play import play_all

        for session_id, scenario in play_all(client, run=uuid4().hex[:6], now=datetime.now(UTC)):
            outcomes[session_id] = scenario.outcome
            advance()
        flushed = client.flush()
    summaries = {
        s["session_id"]: s for s in _list_sessions(base_url) if s["session_id"] in outcomes
    }
    return Recorded(outcomes, summaries, flushed.pending + flushed.spooled + flushed.dropped)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[], None]]:
    columns = (
        TextColumn("Recording sessions"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(SCENARIOS))
        yield lambda: progress.advance(task)


def _list_sessions(base_url: str) -> Iterator[dict[str, Any]]:
    """Ask the server for its sessions, directly: no proxy of the environment is on this way."""
    opener = build_opener(ProxyHandler({}))
    query = {"app": APP, "limit": "100"}
    while True:
        with opener.open(f"{base_url}/api/v1/sessions?{urlencode(query)}", timeout=10) as answer:
            page = json.load(answer)
        yield from page["items"]
        if page["next"] is None:
            return
        query["after"] = page["next"]


def make_table(recorded: Recorded) -> Table:
    """Sum up a run by outcome, in the order of the scenarios."""
    table = Table(title=f"Recorded as {APP}", title_justify="left", show_footer=True, box=SIMPLE)
    rows = {outcome: Counter[str]() for outcome in dict.fromkeys(s.outcome for s in SCENARIOS)}
    for session_id, summary in recorded.summaries.items():
        row = rows[recorded.outcomes[session_id]]
        row.update({"sessions": 1, **{name: summary[name] for name in _FIGURES}})
    total = sum(rows.values(), Counter[str]())
    table.add_column("Outcome", "total", no_wrap=True)
    for name, heading in {"sessions": "Sessions", **_FIGURES}.items():
        table.add_column(heading, str(total[name]), justify="right")
    for outcome, row in rows.items():
        table.add_row(outcome, *(str(row[name] or "·") for name in ("sessions", *_FIGURES)))
    return table


@contextmanager
def _asked_to_end() -> Iterator[threading.Event]:
    """Hear of Ctrl-C, or of SIGTERM, so that either ends the server and its temporary store."""
    end = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        end.set()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield end
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
