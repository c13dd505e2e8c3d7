"""The JSON of events on its way to the disk and back, byte for byte.

An agent sends its whole conversation with every model call. Its messages are stored once a session,
by their hash, and the event keeps what is around them and their numbers. Everything is compressed
with a dictionary that ships with SessionBat: it knows the shape of an event, and no user's text, so
deleting an event leaves nothing of it behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sessionbat.server.records import ReceivedEvent

if TYPE_CHECKING:
    import zstandard

# How `data` is to be read; a number that has landed never changes its meaning.
PLAIN: Final = 0
ZSTD: Final = 1
SHAPED: Final = 2  # zstd with the dictionary `shapes-1.zdict`
SPLIT: Final = 3  # as SHAPED: where the messages go and their numbers, a line break, the rest

#: Shorter lists cost more as rows of their own than they save.
MIN_MESSAGES: Final = 4

_DICTIONARY: Final = Path(__file__).parent / "shapes-1.zdict"
_LEVEL: Final = 3
_FEW: Final = 8
_MAX_CACHED_BYTES: Final = 4 * 1024 * 1024


#: Codec and data.
Payload = tuple[int, bytes]


class Conversation(NamedTuple):
    """A payload whose messages are stored apart, as the session's."""

    #: Where in ``around`` they belong.
    at: int
    messages: list[bytes]
    around: bytes


class PayloadWriter:
    """Compresses and inserts payloads; used by one thread at a time."""

    def __init__(self) -> None:
        self._compressor: zstandard.ZstdCompressor | None = None

    def encode(self, events: Sequence[ReceivedEvent]) -> list[Payload | Conversation]:
        """Compress each event's JSON, or find the messages in it."""
        found = [_find_messages(each) for each in events]
        whole = iter(
            self._compress(
                [each.raw for each, payload in zip(events, found, strict=True) if payload is None]
            )
        )
        return [next(whole) if payload is None else payload for payload in found]

    def insert_messages(
        self, connection: sqlite3.Connection, event: int, session: int, given: Conversation
    ) -> tuple[Payload, list[bytes], int]:
        """Insert the messages that are new in a session.

        Returns:
            The event's payload, which refers to them, the new ones, and how many bytes those take.
        """
        own: list[bytes] = []
        sizes: list[int] = []
        runs = _runs(
            self._store_message(connection, event, session, message, own, sizes)
            for message in given.messages
        )
        head = orjson.dumps([given.at, runs])
        return (SPLIT, self._shaped().compress(head + b"\n" + given.around)), own, sum(sizes)

    def _store_message(
        self,
        connection: sqlite3.Connection,
        event: int,
        session: int,
        message: bytes,
        own: list[bytes],
        sizes: list[int],
    ) -> int:
        digest = blake2b(message, digest_size=16).digest()
        found = connection.execute(
            "SELECT id FROM messages WHERE session = ? AND digest = ?", (session, digest)
        ).fetchone()
        if found is not None:
            return int(found[0])
        codec, data = self._compress([message])[0]
        row = connection.execute(
            "INSERT INTO messages (session, event, digest, codec, data) VALUES (?, ?, ?, ?, ?)",
            (session, event, digest, codec, data),
        ).lastrowid
        assert row is not None
        own.append(message)
        sizes.append(len(data))
        return row

    def _compress(self, raws: Sequence[bytes]) -> list[Payload]:
        """Compress many in one go where zstandard can: each call gives up Python's lock."""
        import zstandard

        # Not every build has it (``backend_features``), and for few it takes longer.
        if len(raws) > _FEW and "multi_compress_to_buffer" in zstandard.backend_features:
            collection = self._shaped().multi_compress_to_buffer([*raws])
            compressed = [collection[place].tobytes() for place in range(len(collection))]
        else:
            compressed = [self._shaped().compress(raw) for raw in raws]
        return [_payload(*each) for each in zip(raws, compressed, strict=True)]

    def _shaped(self) -> zstandard.ZstdCompressor:
        if self._compressor is None:
            import zstandard  # here, so that a server is ready before it is loaded

            dictionary = zstandard.ZstdCompressionDict(_DICTIONARY.read_bytes())
            dictionary.precompute_compress(level=_LEVEL)
            self._compressor = zstandard.ZstdCompressor(
                dict_data=dictionary, write_dict_id=False, write_checksum=False
            )
        return self._compressor


class PayloadReader:
    """Decodes payloads; used by one thread at a time."""

    def __init__(self) -> None:
        self._plain: zstandard.ZstdDecompressor | None = None
        self._shaped: zstandard.ZstdDecompressor | None = None
        self._messages: dict[int, bytes] = {}  # by number, which is never used again for another
        self._cached_bytes = 0

    def decode(self, connection: sqlite3.Connection, codec: int, data: bytes) -> bytes:
        """Give the JSON that was stored."""
        text = self._decompress(codec, data)
        if codec != SPLIT:
            return text
        at, runs, around = _split_head(text)
        messages = b",".join(self._read_messages(connection, runs))
        return around[:at] + messages + around[at:]

    def decode_own(
        self, connection: sqlite3.Connection, event: int, codec: int, data: bytes
    ) -> tuple[bytes, list[bytes]]:
        """Give an event's JSON without what earlier events of its session brought already.

        Returns:
            The JSON, and that of each message which this event brought and which is not in it.
        """
        text = self._decompress(codec, data)
        if codec != SPLIT:
            return text, []
        rows = connection.execute(
            "SELECT codec, data FROM messages WHERE event = ? ORDER BY id", (event,)
        )
        return _split_head(text)[2], [self._decompress(*row) for row in rows]

    def _read_messages(self, connection: sqlite3.Connection, runs: list[int]) -> Iterator[bytes]:
        if self._cached_bytes > _MAX_CACHED_BYTES:
            self._messages.clear()
            self._cached_bytes = 0
        for first, count in zip(runs[::2], runs[1::2], strict=True):
            numbers = range(first, first + count)
            if not all(number in self._messages for number in numbers):
                self._fetch(connection, first, first + count)
            for number in numbers:
                yield self._messages[number]

    def _fetch(self, connection: sqlite3.Connection, first: int, end: int) -> None:
        for number, codec, data in connection.execute(
            "SELECT id, codec, data FROM messages WHERE id >= ? AND id < ?", (first, end)
        ):
            self._messages[number] = self._decompress(codec, data)
            self._cached_bytes += len(self._messages[number])

    def _decompress(self, codec: int, data: bytes) -> bytes:
        if codec == PLAIN:
            return data
        import zstandard

        if codec == ZSTD:
            self._plain = self._plain or zstandard.ZstdDecompressor()
            return self._plain.decompress(data)
        if self._shaped is None:
            dictionary = zstandard.ZstdCompressionDict(_DICTIONARY.read_bytes())
            self._shaped = zstandard.ZstdDecompressor(dict_data=dictionary)
        return self._shaped.decompress(data)


def _payload(raw: bytes, compressed: bytes) -> Payload:
    return (SHAPED, compressed) if len(compressed) < len(raw) else (PLAIN, raw)


def _find_messages(received: ReceivedEvent) -> Conversation | None:
    """Find a model call's messages in the JSON of its event.

    Only when they stand there as they would be written anew, so that they come back the same.
    """
    given = received.event["observation"].get("input")
    listed: Any = given.get("messages") if isinstance(given, dict) else given
    if not isinstance(listed, list) or len(listed) < MIN_MESSAGES:
        return None
    try:
        messages = [orjson.dumps(message) for message in listed]
    except orjson.JSONEncodeError:
        return None
    before, bracket, behind = received.raw.partition(b"[" + b",".join(messages) + b"]")
    if not bracket:
        return None
    return Conversation(len(before) + 1, messages, b"%b[]%b" % (before, behind))


def _runs(numbers: Iterator[int]) -> list[int]:
    """Write ascending neighbours as first, count, first, count, …"""
    runs: list[int] = []
    for number in numbers:
        if runs and number == runs[-2] + runs[-1]:
            runs[-1] += 1
        else:
            runs += [number, 1]
    return runs


def _split_head(text: bytes) -> tuple[int, list[int], bytes]:
    head, _, around = text.partition(b"\n")
    at, runs = orjson.loads(head)
    return at, runs, around
