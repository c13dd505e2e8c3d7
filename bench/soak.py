"""A long steady run against an endpoint that fails at random: nothing lost, nothing grows.

``python -m bench.soak --minutes 30`` prints one line a minute and then the verdict; ``--exit`` and
``--singles`` measure two other figures that are quoted. A host process records; this process is the
endpoint, so that the host's memory, threads and descriptors are its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field

from sessionbat import SessionBat
from sessionbat.spooled import list_spools
from sessionbat.testing import Answer, Endpoint, Request, receipt, single_events_only, unused_port

RATE = 500
WARM_UP_S = 60.0

HOST = """
import json, os, sys, threading, time
from sessionbat import SessionBat
url, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
client = SessionBat(app="soak", endpoint=url)
began, n, said = time.monotonic(), 0, 0.0
def say():
    stats = client.stats()
    print(json.dumps({
        "at": time.monotonic() - began,
        "rss": int(open("/proc/self/statm").read().split()[1]) * 4096,
        "threads": threading.active_count() - 1,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "objects": sys.getallocatedblocks(),
        "recorded": stats.recorded, "delivered": stats.delivered, "pending": stats.pending,
        "spooled": stats.spooled, "dropped": dict(stats.dropped),
    }), flush=True)
while (passed := time.monotonic() - began) < seconds:
    interaction = client.session(session_id=str(n // 50)).interaction()
    while n < passed * rate:
        interaction.llm(model="m", input="x" * (n % 900), output=str(n))
        n += 1
    if passed - said >= 1:
        said = passed
        say()
    time.sleep(0.005)
flushed = client.flush(60)
say()
sys.exit(0 if flushed else 1)
"""


@dataclass
class Soak:
    """What was seen: one sample a second, and what became of the events."""

    samples: list[dict[str, float]] = field(default_factory=list)
    status: int = -1
    stored: int = 0
    stored_twice: int = 0
    left_on_disk: int = 0
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def settled(self) -> list[dict[str, float]]:
        """The samples after the warm-up: a minute, or a third of a short run."""
        last = self.samples[-1]["at"]
        return [s for s in self.samples if s["at"] > min(WARM_UP_S, last / 3)]

    def lows(self, what: str) -> list[float]:
        """The lowest sample of each tenth of the run: the backlog of an outage goes again."""
        tenth = max(1, len(self.settled) // 10)
        starts = range(0, len(self.settled) - tenth + 1, tenth)
        return [min(s[what] for s in self.settled[at : at + tenth]) for at in starts]

    @property
    def rss_slope_mb_per_hour(self) -> float:
        """By least squares over the lows."""
        lows = self.lows("rss")
        hours = (self.settled[-1]["at"] - self.settled[0]["at"]) / 3600
        moments = [hours * number / len(lows) for number in range(len(lows))]
        return statistics.linear_regression(moments, lows).slope / 1e6

    @property
    def lost(self) -> int:
        """Recorded and neither stored nor on disk."""
        return int(self.samples[-1]["recorded"]) - self.stored - self.left_on_disk

    def most(self, what: str) -> int:
        """The highest sample of something."""
        return int(max(s[what] for s in self.settled))

    def least(self, what: str) -> int:
        """The lowest sample of something."""
        return int(min(s[what] for s in self.settled))


class Unreliable:
    """A behaviour that changes every few seconds, and is sound for half of the time."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._until = 0.0
        self._fault = "sound"
        self.seen: dict[str, int] = {}

    def __call__(self, request: Request) -> Answer:
        """Answer as the present fault demands."""
        now = time.monotonic()
        if now > self._until:
            self._until = now + self._random.uniform(0.5, 5.0)
            sound = self._random.random() < 0.5
            self._fault = "sound" if sound else self._random.choice(FAULTS)
        self.seen[self._fault] = self.seen.get(self._fault, 0) + 1
        return self._answer(request)

    def _answer(self, request: Request) -> Answer:
        match self._fault:
            case "status":
                return Answer(self._random.choice([408, 425, 500, 502, 503, 504]))
            case "retry-after":
                return Answer(429, {"Retry-After": "1"})
            case "reset":
                return Answer(reset=True)
            case "slow":
                return _with(receipt(request), delay_s=self._random.uniform(0.05, 0.6))
            case "closing":
                return _with(receipt(request), close=True)
            case "portal":
                return (
                    Answer(200, {"Content-Type": "text/html"}, b"<html>")
                    if (request.is_batch)
                    else Answer(503)
                )
            case "single-events-only":
                return Answer(415) if request.is_batch else single_events_only(request)
            case "too-large":
                large = request.is_batch and len(request.events) > 100
                return Answer(413) if large else receipt(request)
        return receipt(request)


FAULTS = (
    "status",
    "retry-after",
    "reset",
    "slow",
    "closing",
    "portal",
    "single-events-only",
    "too-large",
)


def _with(answer: Answer, *, delay_s: float = 0.0, close: bool = False) -> Answer:
    answer.delay_s, answer.close = delay_s, close
    return answer


def soak(seconds: float, rate: float = RATE, seed: int = 1, *, quiet: bool = True) -> Soak:
    """Record for so long at so many events a second, and see what became of all of it."""
    found = Soak()
    unreliable = Unreliable(seed)
    with tempfile.TemporaryDirectory() as directory, Tallying(unreliable) as endpoint:
        os.environ["SESSIONBAT_SPOOL_DIR"] = directory
        host = subprocess.Popen(
            [sys.executable, "-c", HOST, endpoint.url, str(rate), str(seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert host.stdout is not None
        for line in host.stdout:
            found.samples.append(json.loads(line))
            if not quiet and len(found.samples) % 60 == 0:
                _print_sample(found)
        endpoint.behave = receipt
        found.status = host.wait(120)
        found.stored = endpoint.different
        found.stored_twice = endpoint.again
        found.left_on_disk = sum(spooled.events for spooled in list_spools())
        found.faults = unreliable.seen
    return found


class Tallying(Endpoint):
    """An endpoint that counts what it took and forgets the rest: it has to last for hours."""

    def __init__(self, behave: Unreliable) -> None:
        self._taken: set[str] = set()
        self.again = 0
        super().__init__(behave)

    @property
    def different(self) -> int:
        """How many different events were acknowledged."""
        return len(self._taken)

    def _stored(self, request: Request, answer: Answer) -> list[str]:
        for event_id in super()._stored(request, answer):
            self.again += event_id in self._taken
            self._taken.add(event_id)
        self.requests.clear()
        return []


def _print_sample(found: Soak) -> None:
    last = found.samples[-1]
    print(
        f"{last['at'] / 60:5.1f} min  rss {last['rss'] / 1e6:6.1f} MB  threads {last['threads']:2d}"
        f"  descriptors {last['descriptors']:3d}  recorded {last['recorded']:8d}"
        f"  pending {last['pending']:6d}  spooled {last['spooled']:6d}  dropped {last['dropped']}",
        flush=True,
    )


def _print_verdict(found: Soak) -> None:
    print(f"faults          {found.faults}")
    print("rss, lows       " + " ".join(f"{low / 1e6:.1f}" for low in found.lows("rss")) + " MB")
    print("objects, lows   " + " ".join(f"{low:.0f}" for low in found.lows("objects")))
    print(f"rss slope       {found.rss_slope_mb_per_hour:+.2f} MB/h")
    print(f"threads         {found.least('threads')} to {found.most('threads')}")
    print(f"descriptors     {found.least('descriptors')} to {found.most('descriptors')}")
    print(f"stored          {found.stored}, {found.stored_twice} of them sent again with their ids")
    print(f"left on disk    {found.left_on_disk}")
    print(f"lost            {found.lost}, dropped {found.samples[-1]['dropped']}")


EXIT = """
import sys, time
from sessionbat import SessionBat
interaction = SessionBat(app="exit", endpoint=sys.argv[1]).session().interaction()
[interaction.llm(model="m", input="x") for _ in range(int(sys.argv[2]))]
time.sleep(0.4)
print(time.monotonic(), flush=True)
"""


def measure_exits(repeats: int) -> None:
    """Print how much longer a process takes to end when the endpoint refuses or hangs."""
    with Endpoint(lambda request: Answer(hang=True)) as hanging:
        refusing = f"http://127.0.0.1:{unused_port()}"
        extra: dict[str, list[float]] = {"refusing": [], "hanging": []}
        for _ in range(repeats):
            nothing = _exit_seconds(refusing, events=0)
            extra["refusing"].append(_exit_seconds(refusing, events=100) - nothing)
            extra["hanging"].append(_exit_seconds(hanging.url, events=100) - nothing)
    for what, seconds in extra.items():
        middle, worst = statistics.median(seconds), max(seconds)
        print(
            f"exit, endpoint {what:9} median {middle:.3f} s, worst {worst:.3f} s more than without"
        )


def _exit_seconds(url: str, events: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [sys.executable, "-c", EXIT, url, str(events)],
            env={**os.environ, "SESSIONBAT_SPOOL_DIR": directory},
            capture_output=True,
            text=True,
            check=True,
        )
    return time.monotonic() - float(done.stdout)


def measure_singles(events: int = 2000) -> None:
    """Print the rate to an endpoint that takes single events only and answers after 50 ms."""
    seen = [0]

    def senders() -> int:
        names = [thread.name for thread in threading.enumerate()]
        return sum(name in ("sessionbat-worker", "sessionbat-sender") for name in names)

    def slow(request: Request) -> Answer:
        seen[0] = max(seen[0], senders())
        return _with(single_events_only(request), delay_s=0.05)

    with tempfile.TemporaryDirectory() as directory, Endpoint(slow) as endpoint:
        os.environ["SESSIONBAT_SPOOL_DIR"] = directory
        client = SessionBat(app="singles", endpoint=endpoint.url)
        interaction = client.session().interaction()
        started = time.monotonic()
        for _ in range(events):
            interaction.llm(model="m", input="x" * 500)
        client.flush(120)
        seconds = time.monotonic() - started
        time.sleep(0.1)  # a thread that has done its work ends
        print(
            f"single events at 50 ms: {events / seconds:.0f} a second, at most {seen[0]} senders,"
            f" {senders()} afterwards, {endpoint.connections} connections"
        )
        client.close()


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=RATE, help="events a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--exit", action="store_true", help="measure exits instead")
    parser.add_argument("--singles", action="store_true", help="measure single events instead")
    arguments = parser.parse_args()
    if arguments.exit:
        measure_exits(repeats=7)
    elif arguments.singles:
        measure_singles()
    else:
        found = soak(arguments.minutes * 60, arguments.rate, arguments.seed, quiet=False)
        _print_verdict(found)
        sys.exit(found.status or (1 if found.lost else 0))


if __name__ == "__main__":
    main()
