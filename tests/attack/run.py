"""One attack from beginning to end, and the figures of it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.attack.attacker import Order
from tests.attack.bodies import APP, NEIGHBOUR
from tests.attack.machine import slowness
from tests.attack.neighbour import INGESTION, Neighbour, Sample, has_session
from tests.attack.questions import FIRST
from tests.attack.server import MAX_SIZE_MB, Server, serving
from tests.conftest import eventually


class Waits(NamedTuple):
    """Seconds."""

    p50: float
    p95: float
    max: float
    count: int


class Turn(NamedTuple):
    """One shape at work."""

    shape: str
    began: float
    ended: float
    answers: dict[str, int]
    #: The server's memory at its highest since the turn before ended, in bytes.
    rss: int = 0


@dataclass
class Figures:
    turns: list[Turn] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    peak_rss: int = 0
    peak_disk: int = 0
    disk: int = 0
    sent: int = 0
    acknowledged: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    stored: Counter[str] = field(default_factory=Counter)
    #: What the neighbour was answered beside 200 and 202.
    trouble: Counter[str] = field(default_factory=Counter)
    #: Sessions of the attacker that were there and are not any more.
    deleted: set[str] = field(default_factory=set)
    #: How many times as long as on a machine at rest a piece of work took, before and after.
    slowness: float = 1.0
    log: str = ""

    @property
    def lost(self) -> set[str]:
        return self.acknowledged - set(self.stored)

    @property
    def pages(self) -> list[str]:
        return sorted({each.of for each in self.samples} - {INGESTION})

    def waits(self, of: str) -> Waits:
        seconds = sorted(each.seconds for each in self.samples if each.of == of)
        return Waits(
            seconds[len(seconds) // 2],
            seconds[int(len(seconds) * 0.95)],
            seconds[-1],
            len(seconds),
        )

    def worst_during(self, turn: Turn) -> dict[str, float]:
        """The longest that the neighbour waited for what he asked in a turn, in seconds."""
        worst: dict[str, float] = defaultdict(float)
        for at, seconds, of in self.samples:
            if at < turn.ended and at + seconds > turn.began:
                kind = of if of == INGESTION else "pages"
                worst[kind] = max(worst[kind], seconds)
        return worst


def attack(
    directory: Path,
    seconds: float,
    *,
    lanes: int = 3,
    only: str = "",
    seed: int = 1,
    on_turn: Callable[[Turn, Server, Neighbour], Any] = lambda *_: None,
) -> Figures:
    """Attack a server for so long while a neighbour uses it, then count what the neighbour has."""
    figures = Figures(slowness=slowness())
    with serving(directory) as server:
        keys = server.keys
        order = Order(
            server.port, keys["ingest", APP], keys["read", APP], seconds,
            lanes=lanes, only=only, seed=seed,
        )  # fmt: skip
        attacker = subprocess.Popen(
            [sys.executable, "-m", "tests.attack.attacker"],
            cwd=Path(__file__).parent.parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert attacker.stdin is not None and attacker.stdout is not None
        attacker.stdin.write(json.dumps(order._asdict()))
        attacker.stdin.close()
        assert attacker.stdout.readline() == '{"ready": true}\n'
        neighbour = Neighbour(server.port, keys["ingest", NEIGHBOUR], keys["read", NEIGHBOUR])
        overdue = threading.Timer(seconds + order.overtime + 90, attacker.kill)
        overdue.start()
        try:
            for line in attacker.stdout:
                turn = Turn(**json.loads(line), rss=server.begin_peak())
                figures.turns.append(turn)
                on_turn(turn, server, neighbour)
            assert attacker.wait() == 0
        finally:
            overdue.cancel()
            attacker.kill()
            attacker.wait()
            attacker.stdout.close()
            neighbour.stop()
        # Retention looks each minute; the neighbour's sessions are to stay.
        with suppress(AssertionError):
            eventually(lambda: server.store_bytes() < MAX_SIZE_MB * 1_000_000, timeout=90)
        figures.stored = neighbour.stored()
        figures.deleted = {
            session for session in FIRST
            if not has_session(server.port, keys["read", APP], APP, session)
        }  # fmt: skip
        figures.disk = server.disk_bytes()
        figures.log = server.log  # before a stop, which cancels what the attacker still waits for
    figures.samples = neighbour.samples
    figures.acknowledged, figures.unanswered = neighbour.acknowledged, neighbour.unanswered
    figures.trouble = neighbour.trouble
    figures.peak_rss, figures.peak_disk = server.peak_rss, server.peak_disk
    figures.slowness = max(figures.slowness, slowness())
    return figures
