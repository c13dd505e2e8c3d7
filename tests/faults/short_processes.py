"""A backlog and many short processes: how often each event is sent, and whether all arrive.

``python -m tests.faults.short_processes`` prints the figures of a hundred processes each.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sessionbat.spooled import list_spools
from sessionbat.testing import Answer, Behaviour, Endpoint, Request, receipt, single_events_only

BACKLOG = """
import sys
from sessionbat import SessionBat
client = SessionBat(app="test-app", endpoint=sys.argv[1])
interaction = client.session(session_id="backlog").interaction()
for n in range(int(sys.argv[2])):
    interaction.llm(model="m", input="x" * 200, output=str(n))
"""
SHORT = """
import sys
from sessionbat import SessionBat
client = SessionBat(app="test-app", endpoint=sys.argv[1], exit_timeout=float(sys.argv[2]))
client.session(session_id="own").interaction().llm(model="m", input="own")
print(client.flush(20).delivered, flush=True)
"""
#: As most hosts are: it neither flushes nor closes, and the end of the process is all there is.
SILENT = """
import sys
from sessionbat import SessionBat
client = SessionBat(app="test-app", endpoint=sys.argv[1], exit_timeout=float(sys.argv[2]))
client.session(session_id="own").interaction().llm(model="m", input="own")
"""


@dataclass
class Figures:
    """What became of a backlog."""

    backlog: int
    processes: int = 0
    kills: int = 0
    #: Events that processes were told of as delivered, beside the backlog.
    own: int = 0
    #: Different events that the endpoint has acknowledged, after each process.
    arrived: list[int] = field(default_factory=list)
    acknowledged: int = 0
    posts: int = 0
    left: int = 0

    @property
    def sent_again(self) -> int:
        """How many events the endpoint took that it had taken before."""
        return self.acknowledged - self.arrived[-1]

    @property
    def factor(self) -> float:
        """How often an event was taken, on average."""
        return self.acknowledged / self.arrived[-1]


def slowly(behave: Behaviour, seconds: float = 0.05) -> Behaviour:
    """Answer late."""

    def late(request: Request) -> Answer:
        answer = behave(request)
        answer.delay_s = seconds
        return answer

    return late


def failing_in_between(behave: Behaviour) -> Behaviour:
    """Answer 503 to one request in fifty."""

    def sometimes(request: Request) -> Answer:
        if request.number % 50 == 49:
            return Answer(503, {"Retry-After": "0"})
        return behave(request)

    return sometimes


def unchanged(behave: Behaviour) -> Behaviour:
    """Answer at once."""
    return behave


TAKES: dict[str, Behaviour] = {"single": single_events_only, "batches": receipt}
MANNERS: dict[str, Callable[[Behaviour], Behaviour]] = {
    "up": unchanged,
    "slow": slowly,
    "failing": failing_in_between,
}


def measure(
    behave: Behaviour,
    *,
    backlog: int,
    processes: int,
    kill_each: int = 0,
    seconds: float = 2.0,
    seed: int = 0,
    program: str = SHORT,
) -> Figures:
    """Leave a backlog behind, run short processes, then have the rest sent.

    Args:
        behave: How the endpoint answers.
        backlog: How many events wait at first.
        processes: How many short processes there are, each with one event of its own.
        kill_each: Each so-manieth of them is killed at some moment; 0 kills none.
        seconds: Their exit deadline.
        seed: Of the moments.
        program: What each of them runs; one that says nothing has delivered its own all the same.
    """
    chance = random.Random(seed)
    figures = Figures(backlog)
    with Endpoint(lambda request: Answer(503)) as endpoint:
        _python(BACKLOG, endpoint.url, str(backlog)).wait(60)
        endpoint.requests.clear()
        endpoint.behave = behave
        for number in range(processes):
            process = _python(program, endpoint.url, str(seconds))
            if kill_each and number % kill_each == kill_each - 1:
                _kill_in_the_middle(process, endpoint, chance.uniform(0, 0.4))
                figures.kills += 1
            figures.own += int(process.communicate(timeout=60)[0] or program is SILENT)
            figures.processes += 1
            figures.arrived.append(len(set(endpoint.acknowledged)))
        subprocess.run(
            [sys.executable, "-m", "sessionbat", "spool", "send"],
            capture_output=True,
            timeout=300,
            check=False,
        )
        figures.arrived.append(len(set(endpoint.acknowledged)))
        figures.acknowledged = len(endpoint.acknowledged)
        figures.posts = len(endpoint.requests)
        figures.left = _waiting()
    return figures


def _waiting() -> int:
    return sum(spooled.events for spooled in list_spools())


def _python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _kill_in_the_middle(process: subprocess.Popen[str], endpoint: Endpoint, later: float) -> None:
    """Kill a process some time after it has sent something."""
    before = len(endpoint.requests)
    deadline = time.monotonic() + 20
    while len(endpoint.requests) == before and process.poll() is None:
        if time.monotonic() > deadline:
            break
        time.sleep(0.002)  # between two looks
    time.sleep(later)  # the moment of death
    process.kill()


def main() -> None:
    """Print the figures of every kind of endpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=100)
    options = parser.parse_args()
    for takes, manner, kill_each in KINDS:
        with tempfile.TemporaryDirectory() as directory:
            os.environ["SESSIONBAT_SPOOL_DIR"] = directory
            figures = measure(
                MANNERS[manner](TAKES[takes]),
                backlog=options.backlog,
                processes=options.processes,
                kill_each=kill_each,
            )
        print(
            f"{takes:8} {manner:8} {figures.kills:3} killed: {figures.arrived[-1]:,} events,"
            f" taken {figures.factor:.4f} times, {figures.sent_again} again,"
            f" {figures.posts:,} posts, {figures.left} left",
            flush=True,
        )


#: What the endpoint takes, how it behaves, and which of the processes are killed.
KINDS = [
    (takes, manner, kill_each)
    for takes in TAKES
    for manner, kill_each in (("up", 0), ("slow", 0), ("failing", 0), ("up", 5), ("slow", 5))
]

if __name__ == "__main__":
    main()
