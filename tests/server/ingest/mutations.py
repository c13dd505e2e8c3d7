"""Ingestion bodies that are nearly right: valid events, damaged in one of many ways.

Each is drawn from a random number generator, so a seed gives the same one again. Beside the damaged
event lies a good one, whose fate tells whether the damage spread.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zstandard

from tests.server.wire import event

STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, "", "\0", "a" * 300, "é🦇",
    "\ud800", [], {}, [[]], [{}], {"": {}}, {"kind": "llm"}, [None] * 50, float("nan"),
    float("inf"), "9999-12-31T23:59:59Z", "0000-00-00T00:00:00Z", "2026-11-22T16:00:00+99:99",
)  # fmt: skip
FRAGMENTS = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud800", b"null", b"NaN", b"1e999",
    b"\n", b"\r", b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"9" * 400, b"[" * 250,
    b'{"a":' * 250, b"{}," * 100, b'"id":"x",', b"\xc0\x80", b"\xf4\x90\x80\x80", b"/*", b"//",
)  # fmt: skip


@dataclass(frozen=True)
class Mutated:
    """A request's body; ``neighbour`` is the id of the good event that is in it."""

    data: bytes
    content_type: str
    encoding: str | None
    neighbour: str
    #: What lies around the events is whole: then the neighbour has to be stored.
    is_framed: bool


def mutate(seed: int) -> Mutated:
    """Make one body from a seed."""
    rng = random.Random(seed)
    neighbour = f"good-{seed}"
    good = json.dumps(event(neighbour, session_id=f"s{seed % 50}")).encode()
    bad = _damage(_strange_event(rng, seed), rng)
    is_ndjson = rng.random() < 0.5
    if is_ndjson:
        # A line break in the damage makes two lines of it; neither touches the good one.
        data = b"\n".join((bad, good) if rng.random() < 0.5 else (good, bad))
    else:
        bad = bad if _is_element(bad) else b"{}"
        data = b"[" + b",".join((bad, good) if rng.random() < 0.5 else (good, bad)) + b"]"
    is_framed = True
    if rng.random() < 0.15:  # damage to the whole, wherever it strikes
        data, is_framed = _damage(data, rng), False
    data, encoding, is_whole = _compress(data, rng)
    content_type = "application/x-ndjson" if is_ndjson else "application/json"
    return Mutated(data, content_type, encoding, neighbour, is_framed and is_whole)


def _strange_event(rng: random.Random, seed: int) -> bytes:
    changed = event(f"bad-{seed}", session_id=f"s{seed % 50}")
    for _ in range(rng.randint(0, 3)):
        owner = rng.choice([changed, changed["observation"]])
        name = rng.choice([*owner, "metadata", "tags", "context", "metrics", ""])
        change = rng.random()
        if change < 0.25:
            owner.pop(name, None)
        elif change < 0.9 or not isinstance(owner.get("metrics"), dict):
            owner[name] = copy.deepcopy(rng.choice(STRANGE))
        else:
            owner["metrics"]["latency_ms"] = copy.deepcopy(rng.choice(STRANGE))
        if not isinstance(changed.get("observation"), dict):
            break
    return json.dumps(changed, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def _damage(data: bytes, rng: random.Random) -> bytes:
    ways: list[Callable[[], bytes]] = [
        lambda: data,
        lambda: data[: rng.randrange(len(data) + 1)],
        lambda: data[rng.randrange(len(data) + 1) :],
        lambda: _at(data, rng, 0, rng.choice(FRAGMENTS)),
        lambda: _at(data, rng, rng.randint(1, 9), b""),
        lambda: _at(data, rng, 1, bytes([rng.randrange(256)])),
        lambda: _at(data, rng, 1, rng.randbytes(rng.randint(1, 20))),
        lambda: data.replace(b'"', rng.choice([b"'", b"", b'\\"']), rng.randint(1, 3)),
        lambda: data * 2,
        lambda: data.decode("utf-8", "replace").encode(rng.choice(["utf-16", "utf-32"])),
    ]
    return rng.choice(ways)()


def _at(data: bytes, rng: random.Random, length: int, inserted: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + inserted + data[place + length :]


def _is_element(data: bytes) -> bool:
    """Whether a text can stand in an array without changing what stands beside it."""
    depth, in_string, escaped = 0, False, False
    for byte in data:
        character = chr(byte)
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
            if depth < 0:
                return False
        elif character == "," and not depth:
            return False
    return depth == 0 and not in_string and bool(data.strip(b" \t\r\n"))


def _compress(data: bytes, rng: random.Random) -> tuple[bytes, str | None, bool]:
    choice = rng.random()
    if choice < 0.6:
        return data, None, True
    encoding = "gzip" if choice < 0.8 else "zstd"
    packed = gzip.compress(data, 1, mtime=0) if encoding == "gzip" else zstandard.compress(data)
    damage = rng.random()
    if damage < 0.6:
        return packed, encoding, True
    if damage < 0.9:
        damaged = _damage(packed, rng)
        return damaged, encoding, damaged == packed
    return zlib.compress(data), encoding, False
