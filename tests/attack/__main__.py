"""``python -m tests.attack --minutes 30``: an attack by hand, and a table of what it cost."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.attack.attacker import SHAPES
from tests.attack.neighbour import INGESTION, Neighbour
from tests.attack.run import Figures, Turn, attack
from tests.attack.server import Server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--lanes", type=int, default=3, help="shapes at the same time")
    parser.add_argument("--only", default="", choices=["", *(each.name for each in SHAPES)])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    console = Console()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as directory,
        Progress(
            TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console
        ) as progress,
    ):
        task = progress.add_task("the attack begins", total=arguments.minutes * 60)

        def show(turn: Turn, server: Server, neighbour: Neighbour) -> None:
            progress.update(
                task,
                completed=time.monotonic() - began,
                description=f"{turn.shape}; {server.peak_rss / 1e6:.0f} MB at most,"
                f" {len(neighbour.acknowledged)} events of the neighbour's taken",
            )

        figures = attack(
            Path(directory), arguments.minutes * 60, lanes=arguments.lanes, only=arguments.only,
            seed=arguments.seed, on_turn=show,
        )  # fmt: skip
    console.print(by_shape(figures))
    console.print(verdict(figures))
    console.print("the end of the server's log:", figures.log[-12_000:], sep="\n", markup=False)
    sys.exit(1 if figures.lost else 0)


def verdict(figures: Figures) -> Table:
    table = Table("the neighbour's", "p50 s", "p95 s", "max s", "times")
    for each in (INGESTION, *figures.pages):
        waits = figures.waits(each)
        table.add_row(
            each, f"{waits.p50:.3f}", f"{waits.p95:.3f}", f"{waits.max:.3f}", str(waits.count)
        )
    table.add_section()
    for name, value in (
        ("acknowledged", len(figures.acknowledged)),
        ("of these not stored", len(figures.lost)),
        ("stored twice", sum(count > 1 for count in figures.stored.values())),
        ("never answered", len(figures.unanswered)),
        ("other answers", dict(figures.trouble)),
        ("the attacker's first sessions deleted", len(figures.deleted)),
        ("times as slow as a machine at rest", round(figures.slowness, 2)),
        ("memory at most, MB", round(figures.peak_rss / 1e6)),
        ("disk at most, MB", round(figures.peak_disk / 1e6)),
        ("disk at the end, MB", round(figures.disk / 1e6)),
    ):
        table.add_row(name, str(value))
    return table


def by_shape(figures: Figures) -> Table:
    """What was sent, the answers to it, and the neighbour's longest wait meanwhile."""
    table = Table("shape", "answers", "ingestion, max s", "pages, max s", "MB")
    for turn in sorted(figures.turns, key=lambda turn: turn.began):
        worst = figures.worst_during(turn)
        answers = ", ".join(f"{count} x {what}" for what, count in turn.answers.items())
        table.add_row(
            turn.shape, answers, f"{worst[INGESTION]:.2f}", f"{worst['pages']:.2f}",
            f"{turn.rss / 1e6:.0f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
