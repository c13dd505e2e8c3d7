"""What recording costs the caller: the look, the encoding, the whole call, in one run.

    PYTHONPATH=src python bench/encoding.py

CPU time of this thread, the least of many short rounds that take turns, because absolute figures
move with the machine: what counts is the ratio to ``orjson alone``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson

from sessionbat import SessionBat
from sessionbat._encoding import encode_event, encode_value, is_plain
from sessionbat._encoding.plain_values import to_plain
from sessionbat.event import EncodedEvent

INPUT = {
    "messages": [
        {"role": "system", "content": "x" * 400},
        {"role": "user", "content": "y" * 400},
    ]
}
OUTPUT = {"text": "z" * 200}
METRICS = {"latency_ms": 820, "input_tokens": 142, "output_tokens": 36}
ROUNDS, CALLS = 300, 200


class Nowhere:
    """A transport that takes events and does nothing with them."""

    def send(self, event: EncodedEvent) -> None: ...

    def flush(self, timeout: float | None = None) -> None: ...

    def close(self, timeout: float | None = None) -> None: ...


def observation() -> dict[str, Any]:
    return {
        "kind": "llm",
        "name": None,
        "started_at": None,
        "input": INPUT,
        "output": OUTPUT,
        "error": None,
        "metadata": {"model": "gpt"},
        "metrics": METRICS,
    }


def envelope() -> dict[str, Any]:
    return {
        "type": "llm",
        "id": "0" * 32,
        "created_at": "2026-11-22T16:00:00.123456Z",
        "app": "app",
        "session_id": "session",
        "interaction_id": "interaction",
        "tags": orjson.Fragment(b"[]"),
        "context": orjson.Fragment(b"{}"),
    }


def recursive_look(value: Any, room: int = 1 << 20, depth: int = 64) -> int:
    """The same look as ``is_plain``, as a recursion: what was there before."""
    kind = type(value)
    if kind is not dict and kind is not list and kind is not tuple:
        raise TypeError
    room -= 21 * len(value)
    if room < 0 or depth == 0:
        raise ValueError
    for item in value.values() if kind is dict else value:
        kind = type(item)
        if kind is str:
            room -= len(item)
        elif item is not None and kind is not int and kind is not float and kind is not bool:
            room = recursive_look(item, room, depth - 1)
    return room


def main() -> None:
    fields = observation()
    whole = {**envelope(), "observation": fields}
    interaction = SessionBat(app="app", transport=Nowhere()).session().interaction()
    contestants: dict[str, Callable[[], object]] = {
        "orjson alone": lambda: orjson.dumps(whole),
        "the look (is_plain)": lambda: is_plain(fields.values()),
        "the look as a recursion": lambda: recursive_look(fields),
        "a conversion instead of the look": lambda: to_plain(fields),
        "encode_event": lambda: encode_event(envelope(), observation()),
        "encode_value where 1 KB is converted": lambda: encode_value([INPUT, 1j]),
        "interaction.llm()": lambda: interaction.llm(
            model="gpt", input=INPUT, output=OUTPUT, metrics=METRICS
        ),
    }
    least = dict.fromkeys(contestants, float("inf"))
    for _ in range(ROUNDS):
        for name, act in contestants.items():
            begun = time.thread_time()
            for _ in range(CALLS):
                act()
            least[name] = min(least[name], (time.thread_time() - begun) / CALLS * 1e6)
    for name, microseconds in least.items():
        print(f"{name:40} {microseconds:6.2f} µs  {microseconds / least['orjson alone']:5.1f} x")


if __name__ == "__main__":
    main()
