"""Bodies of ingestion requests as bad as they may be: legal ones, and such as are refused.

Each function gives one body; it is made anew for each request, with ids and sessions that were not
there before, since a duplicate costs the server less.
"""

from __future__ import annotations

import gzip
import itertools
import json
import random
import struct
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

APP = "attacker"
NEIGHBOUR = "neighbour"

_numbers = itertools.count()


class Body(NamedTuple):
    data: bytes
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


MakeBody = Callable[[], Body]


def lines(*events: bytes) -> Body:
    return Body(b"\n".join(events), {"Content-Type": "application/x-ndjson"})


def zipped(body: Body) -> Body:
    return Body(gzip.compress(body.data, 1), {**body.headers, "Content-Encoding": "gzip"})


def event(
    given: bytes = b"null",
    *,
    kind: str = "llm",
    session: str | None = None,
    envelope: bytes = b"",
    observation: bytes = b"",
    app: str = APP,
    id: str | None = None,
) -> bytes:
    """Write an event around its ``input``, which is JSON already, as are the further fields."""
    number = next(_numbers)
    return b'{"type":"%b","id":"%b","app":"%b","session_id":"%b"%b,%b' % (
        kind.encode(),
        (id or f"a{number}").encode(),
        app.encode(),
        (session or f"s{number % 50}").encode(),
        envelope,
        b'"observation":{"kind":"%b","name":"t"%b,"input":%b}}'
        % (kind.encode(), observation, given),
    )


def text(words: str) -> bytes:
    return json.dumps(words, ensure_ascii=False).encode()


# Values


@cache
def _ones() -> bytes:
    return b"[" + b",".join([b"1"] * 240_000) + b"]"


@cache
def _tokens() -> list[bytes]:
    """Lists of 60,000 token ids of five digits, all different."""
    pick = random.Random(1)
    return [
        b"[" + b",".join(b"%d" % pick.randrange(10_000, 200_000) for _ in range(60_000)) + b"]"
        for _ in range(16)
    ]


@cache
def _vectors() -> bytes:
    """A hundred and fifty embeddings of 1536 numbers."""
    pick = random.Random(2)
    vector = b"[" + b",".join(b"%.8f" % pick.uniform(-1, 1) for _ in range(1536)) + b"]"
    return b"[" + b",".join([vector] * 150) + b"]"


def numbers() -> Body:
    return zipped(lines(*(event(_ones()) for _ in range(4))))


def token_ids() -> Body:
    return lines(*(event(each) for each in _tokens()))


def embeddings() -> Body:
    return zipped(lines(*(event(_vectors()) for _ in range(4))))


def objects() -> Body:
    return zipped(lines(*(event(_OBJECTS, kind="tool") for _ in range(4))))


_OBJECTS = b'{"a":[' + b",".join([b"{}"] * 120_000) + b"]}"


def deep() -> Body:
    return zipped(lines(*(event(_DEEP, kind="tool") for _ in range(4))))


_DEEP = b"[" + b",".join([b"[" * 190 + b"]" * 190] * 1_200) + b"]"


def repeated_names() -> Body:
    names = b"{" + b",".join([b'"a":1'] * 200_000) + b"}"
    metadata = b',"metadata":{' + b",".join(b'"k%d":1' % n for n in range(40_000)) + b"}"
    return zipped(lines(event(names), event(names, kind="tool"), event(observation=metadata)))


# Messages


def messages() -> Body:
    def conversation(count: int) -> bytes:
        first = next(_numbers)
        return b"[%b]" % b",".join(
            b'{"role":"user","content":"message number %d of many"}' % (first * count + n)
            for n in range(count)
        )

    return lines(*(event(conversation(2_000)) for _ in range(10)), event(conversation(60_000)))


# Words


def one_word() -> Body:
    return lines(*(event(b"null", observation=b',"output":' + _NEEDLES, kind="tool")
                   for _ in range(4)))  # fmt: skip


_NEEDLES = text("needle haystack " * 44_000)


def letters() -> Body:
    return zipped(lines(event(text("a b " * 240_000), kind="tool")))


def different_words() -> Body:
    first = next(_numbers) * 150_000
    return lines(event(text(" ".join(f"{first + n:x}" for n in range(150_000))), kind="tool"))


def characters() -> Body:
    """Chinese: each character is a word."""
    start = random.randrange(0x4E00, 0x6000)
    some = "".join(chr(start + n) for n in range(0x1000))
    return lines(event(text(some * 80), kind="tool"))


def hexadecimal() -> Body:
    return lines(*(event(text(random.randbytes(25_000).hex())) for _ in range(40)))


# Sizes


def largest_text() -> Body:
    """One string of 31 MB that does not compress."""
    return lines(event(text(random.randbytes(15_500_000).hex()), kind="tool"))


def largest_count() -> Body:
    """As many events as a body may hold."""
    return zipped(lines(*(event(b'"x"') for _ in range(49_000))))


def largest_zipped() -> Body:
    return zipped(lines(*(event(b'"' + b" " * 1_000_000 + b'"') for _ in range(30))))


# Envelopes


def sessions() -> Body:
    return zipped(
        lines(
            *(
                event(session=f"many-{next(_numbers)}", envelope=b',"interaction_id":"i%d"' % n)
                for n in range(20_000)
            )
        )
    )


def labels() -> Body:
    def envelope() -> bytes:
        first = next(_numbers) * 10
        tags = b",".join(b'"tag%d"' % (first * 100 + n) for n in range(1_000))
        return b',"tags":[%b],"context":{"user_id":"u%d","environment":"e%d","release":"r%d"}' % (
            tags, first, first, first,
        )  # fmt: skip

    def metadata() -> bytes:
        number = next(_numbers)
        return b',"metadata":{"model":"m%d","k%d":1}' % (number, number)

    return zipped(lines(*(event(envelope=envelope(), observation=metadata()) for _ in range(200))))


def tags() -> Body:
    """One event of very many tags."""
    first = next(_numbers) * 200_000
    many = b",".join(b'"%d"' % (first + n) for n in range(200_000))
    return zipped(lines(event(envelope=b',"tags":[' + many + b"]")))


def times() -> Body:
    """From year 1 to 9999; each in an hour of its own, which statistics keep apart."""

    def at(n: int) -> bytes:
        year = random.choice((1, 1583, 1970, 2026, 2261, 2262, 9999))
        return b',"created_at":"%04d-%02d-%02dT%02d:00:00Z"' % (
            year, n % 12 + 1, n % 28 + 1, n % 24,
        )  # fmt: skip

    return zipped(lines(*(event(envelope=at(n)) for n in range(5_000))))


def future() -> Body:
    """Texts in sessions that seem never to be idle."""
    at = b',"created_at":"2261-01-01T00:00:00Z"'
    return lines(*(event(text(random.randbytes(10_000).hex()), envelope=at) for _ in range(100)))


@cache
def _again() -> Body:
    return zipped(lines(*(event(b'"again"', id=f"again{n % 5_000}") for n in range(20_000))))


def duplicates() -> Body:
    return _again()


# Refused

_JSON = {"Content-Type": "application/json"}
_LINES = {"Content-Type": "application/x-ndjson"}


@cache
def _bombs() -> list[Body]:
    gzip_json = {**_JSON, "Content-Encoding": "gzip"}
    return [
        Body(gzip.compress(b"[" + b"0" * 400_000_000, 1), gzip_json),
        Body(gzip.compress(b"[" + b"{}," * 10_000_000 + b"{}]", 1), gzip_json),
        Body(gzip.compress(b'["' + b'\\"' * 15_000_000 + b'"]', 1), gzip_json),
        Body(gzip.compress(b'["\\' + b'",,"\\' * 5_000_000, 1), gzip_json),
    ]


def bombs() -> Body:
    return random.choice(_bombs())


_MALFORMED = (
    Body(b"[" * 1_000_000, _JSON),
    Body(b'{"a":' * 200_000, _JSON),
    Body(b"\n".join([b"{"] * 50_000), _LINES),
    Body(b"\n".join([b'{"type":"llm","id":1}'] * 50_000), _LINES),
    Body(b'[{"x":NaN},{"y":"\xff\xfe"},"\\ud800",' + b"9" * 5_000_000 + b"]", _JSON),
    Body(b"\0" * 1_000_000, _LINES),
    Body(b"\x1f\x8b\x08\0" + b"\0" * 500_000, {**_JSON, "Content-Encoding": "gzip"}),
    Body(struct.pack("<IB", 0xFD2FB528, 0xE0) + b"\xff" * 100_000,
         {**_JSON, "Content-Encoding": "zstd"}),
    Body(b"x" * 1_000, {"Content-Type": "text/plain"}),
    Body(event(app=NEIGHBOUR, id="b-planted"), _JSON),
    Body(event(b"[" * 900 + b"]" * 900), _JSON),
    Body(b"[" + b",".join([event(b'{"a":1,"a":2}', app=NEIGHBOUR, id="b-0-0")] * 5_000) + b"]",
         _JSON),
)  # fmt: skip
_malformed = itertools.cycle(_MALFORMED)


def malformed() -> Body:
    return next(_malformed)


def oversized() -> Body:
    return Body(b"x" * 40_000_000, _JSON)
