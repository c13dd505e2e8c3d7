"""Stores the JSON of events compressed, and returns it byte for byte.

An agent sends its whole conversation with every model call. Each message is stored once a session,
by its hash; the event keeps the JSON around its messages, and their numbers. Everything is
compressed with a dictionary that ships with SessionBat. It was trained on the shape of events and
holds no user's text, so deleting an event leaves nothing behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.sqlite.many_rows import (
    Numbered,
    insert_into,
    insert_many,
    number_rows,
    places_of,
)

if TYPE_CHECKING:
    import zstandard

# The encodings of `data`; a released number never changes its meaning.
PLAIN: Final = 0
ZSTD: Final = 1
SHAPED: Final = 2  # zstd with the dictionary `shapes-1.zdict`
SPLIT: Final = 3  # as SHAPED: where the messages go and their numbers, a line break, the rest

#: Shorter lists cost more as rows of their own than they save.
MIN_MESSAGES: Final = 4
#: An event's further messages stay in the event: a row for each costs time inside the transaction,
#: for which everybody waits. Search ignores more of them too, which an earlier version may have
#: stored. A conversation of that length fits no model.
MAX_MESSAGES: Final = 2000
#: The same holds for lists of shorter items on average: numbers, token ids, embeddings.
MIN_MESSAGE_BYTES: Final = 24

_DICTIONARY: Final = Path(__file__).parent / "shapes-1.zdict"
_LEVEL: Final = 3
_FEW: Final = 8
#: Longer ones are inserted singly: the driver's statement cache keeps the last values.
LONG: Final = 4 * 1024
# The cache of a session's messages, and the overhead of each message. Measured: 190 bytes.
_MAX_CACHED_BYTES: Final = 4 * 1024 * 1024
_BYTES_BESIDE: Final = 200


class Payload(NamedTuple):
    """An event's or a message's JSON, as stored in the file."""

    codec: int
    data: bytes


class PayloadRow(NamedTuple):
    """A row of ``payloads``."""

    event: int
    codec: int
    data: bytes


class MessageRow(NamedTuple):
    """A row of ``messages``."""

    id: int
    session: int
    event: int
    digest: bytes
    codec: int
    data: bytes


class Conversation(NamedTuple):
    """A payload whose messages are stored separately, with the session."""

    #: Their position in ``around``.
    at: int
    messages: list[bytes]
    around: bytes


class Arrived(NamedTuple):
    """A conversation after the row of its event is inserted."""

    event: int
    session: int
    conversation: Conversation


class Referring(NamedTuple):
    """A conversation after the rows of its messages are inserted."""

    #: The event's payload, without its messages.
    payload: Payload
    #: The messages that its event is the first to bring, and their size.
    own_messages: list[bytes]
    own_bytes: int


class _New(NamedTuple):
    """A message that is new in its session."""

    id: int
    session: int
    event: int
    digest: bytes
    message: bytes


_INSERT_MESSAGES: Final = insert_into("messages", MessageRow)


class PayloadWriter:
    """Compresses and inserts payloads; used by one thread at a time."""

    def __init__(self) -> None:
        self._compressor: zstandard.ZstdCompressor | None = None

    def encode(self, events: Sequence[ReceivedEvent]) -> list[Payload | Conversation]:
        """Compress each event's JSON, or split off its messages."""
        found = [_find_messages(each) for each in events]
        whole = iter(
            self._compress(
                [each.raw for each, payload in zip(events, found, strict=True) if payload is None]
            )
        )
        return [next(whole) if payload is None else payload for payload in found]

    def insert_messages(
        self, connection: sqlite3.Connection, given: Sequence[Arrived]
    ) -> list[Referring]:
        """Insert messages that are new in their sessions, for all events at once."""
        hashed = [
            [blake2b(m, digest_size=16).digest() for m in each.conversation.messages]
            for each in given
        ]
        keys = {
            (each.session, digest): None
            for each, digests in zip(given, hashed, strict=True)
            for digest in digests
        }
        numbered = number_rows(connection, "messages", ("session", "digest"), [*keys])
        numbers = dict(zip(keys, numbered, strict=True))
        own = _new_messages(given, hashed, numbers)
        sizes = iter(self._insert_new(connection, [new for news in own for new in news]))
        return [
            Referring(
                self._refer(
                    each.conversation, [numbers[each.session, digest].number for digest in digests]
                ),
                [new.message for new in news],
                sum(islice(sizes, len(news))),
            )
            for each, digests, news in zip(given, hashed, own, strict=True)
        ]

    def _refer(self, given: Conversation, numbers: Sequence[int]) -> Payload:
        head = orjson.dumps([given.at, _runs(numbers)])
        return Payload(SPLIT, self._shaped().compress(head + b"\n" + given.around))

    def _insert_new(self, connection: sqlite3.Connection, new: Sequence[_New]) -> list[int]:
        compressed = self._compress([each.message for each in new])
        rows = [
            MessageRow(each.id, each.session, each.event, each.digest, payload.codec, payload.data)
            for each, payload in zip(new, compressed, strict=True)
        ]
        insert_many(connection, _INSERT_MESSAGES, [row for row in rows if len(row.data) <= LONG])
        long = [row for row in rows if len(row.data) > LONG]
        connection.executemany(f"{_INSERT_MESSAGES} VALUES {places_of(MessageRow)}", long)
        return [len(row.data) for row in rows]

    def _compress(self, raws: Sequence[bytes]) -> list[Payload]:
        """Compress many in one call if zstandard can: each call releases Python's lock."""
        import zstandard

        # Not every build has it (``backend_features``), and for few it takes longer.
        if len(raws) > _FEW and "multi_compress_to_buffer" in zstandard.backend_features:
            collection = self._shaped().multi_compress_to_buffer([*raws])
            compressed = [collection[place].tobytes() for place in range(len(collection))]
        else:
            compressed = [self._shaped().compress(raw) for raw in raws]
        return [_payload(raw, each) for raw, each in zip(raws, compressed, strict=True)]

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
        """Return the stored JSON."""
        text = self._decompress(codec, data)
        if codec != SPLIT:
            return text
        at, runs, around = _split_head(text)
        messages = b",".join(self._read_messages(connection, runs))
        return around[:at] + messages + around[at:]

    def decode_own(
        self,
        connection: sqlite3.Connection,
        event: int,
        codec: int,
        data: bytes,
        most_messages: int,
    ) -> tuple[bytes, list[bytes]]:
        """Return an event's JSON without the messages of earlier events.

        Returns:
            The JSON without messages, and the JSON of the messages that this event brought first.
        """
        text = self._decompress(codec, data)
        if codec != SPLIT:
            return text, []
        rows = connection.execute(
            "SELECT codec, data FROM messages WHERE event = ? ORDER BY id LIMIT ?",
            (event, most_messages),
        )
        return _split_head(text)[2], [self._decompress(codec, data) for codec, data in rows]

    def messages_of(self, data: bytes) -> set[int]:
        """Give the numbers of the messages to which a payload of codec ``SPLIT`` refers."""
        _, runs, _ = _split_head(self._decompress(SPLIT, data))
        return {
            number
            for first, count in zip(runs[::2], runs[1::2], strict=True)
            for number in range(first, first + count)
        }

    def forget(self) -> None:
        """Drop the cached messages."""
        self._messages.clear()
        self._cached_bytes = 0

    def _read_messages(self, connection: sqlite3.Connection, runs: list[int]) -> Iterator[bytes]:
        if self._cached_bytes > _MAX_CACHED_BYTES:
            self.forget()
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
            self._cached_bytes += len(self._messages[number]) + _BYTES_BESIDE

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
    return Payload(SHAPED, compressed) if len(compressed) < len(raw) else Payload(PLAIN, raw)


_NOTHING: Final[dict[str, Any]] = {}


def _find_messages(received: ReceivedEvent) -> Conversation | None:
    """Find a model call's messages in the JSON of its event.

    Only if encoding them again gives the same bytes, so that the JSON is returned unchanged.
    """
    given = received.event.get("observation", _NOTHING).get("input")
    listed: Any = given.get("messages") if isinstance(given, dict) else given
    if not isinstance(listed, list) or not _are_messages(listed, len(received.raw)):
        return None
    try:
        messages = [_copy(orjson.dumps(message)) for message in listed[:MAX_MESSAGES]]
    except orjson.JSONEncodeError:
        return None
    before, found, behind = received.raw.partition(b"[" + b",".join(messages))
    if not found or behind[:1] != (b"," if len(listed) > MAX_MESSAGES else b"]"):
        return None
    return Conversation(len(before) + 1, messages, b"%b[%b" % (before, behind))


def _copy(written: bytes) -> bytes:
    """Copy orjson's output: orjson allocates 1 KB and shrinks the block in place.

    The remainders are too small for another output: 22,000 messages of 60 bytes held 90 MB while
    they waited, and longer.
    """
    return memoryview(written).tobytes()


def _are_messages(listed: list[Any], event_bytes: int) -> bool:
    """Whether a list is worth separate rows: objects, on average longer than a row costs."""
    return (
        len(listed) >= MIN_MESSAGES
        and event_bytes >= MIN_MESSAGE_BYTES * len(listed)
        and all(type(message) is dict for message in listed[:MAX_MESSAGES])
    )


def _new_messages(
    given: Sequence[Arrived],
    hashed: Sequence[Sequence[bytes]],
    numbers: Mapping[tuple[int, bytes], Numbered],
) -> list[list[_New]]:
    """Return the messages that each event is the first to bring."""
    brought: set[int] = set()
    new: list[list[_New]] = []
    for each, digests in zip(given, hashed, strict=True):
        news = []
        for digest, message in zip(digests, each.conversation.messages, strict=True):
            number, is_new = numbers[each.session, digest]
            if is_new and number not in brought:
                brought.add(number)
                news.append(_New(number, each.session, each.event, digest, message))
        new.append(news)
    return new


def _runs(numbers: Sequence[int]) -> list[int]:
    """Write runs of consecutive numbers as first, count, first, count, …"""
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
