"""Exported events and transcripts, read record by record and recorded as a stranger would.

Called by the command line. A bad record costs nobody but itself. Ids come from the file or from its
content, so importing a file again brings the server nothing that it does not have. Memory stays
bounded however long the file is: reading waits whenever much is on its way.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, Final

from sessionbat._importing.bad import BadLine, DamagedFileError
from sessionbat._importing.dated import DatedTransport
from sessionbat._importing.events import parse_event
from sessionbat._importing.forms import NAMES, Form, tell_form
from sessionbat._importing.json_values import Json, parse_json
from sessionbat._importing.records import MAX_LINE_BYTES, Record, read_records, refuse_unread
from sessionbat._importing.transcripts import Step, parse_transcript, sessions_within
from sessionbat._importing.unpacking import unpack
from sessionbat.client import Interaction, SessionBat
from sessionbat.errors import ImportFileError
from sessionbat.event import LLM, MAX_EVENT_BYTES
from sessionbat.transports import IngestionTransport

#: Recorded and not yet delivered at any moment: well below the 64 MiB of the SDK's queue.
MAX_UNDELIVERED_BYTES: Final = 16 * 1024 * 1024
#: How long the endpoint may take nothing at all before the import is given up.
STALL_SECONDS: Final = 60.0

_ENVELOPE_BYTES = 1024  # of an event, beside its payload: an estimate on the safe side


@dataclass(slots=True)
class ImportSummary:
    """What was read, and what became of it; delivery as the endpoint's answers tell it."""

    form: Form | None = None
    #: The form of its first record and how the file is packed, in words; empty without any.
    reads_as: str = ""
    #: Where transcripts, or all events, went to; None when each event named its own app.
    app: str | None = None
    lines: int = 0
    bad_lines: int = 0
    sessions: int = 0
    #: Observations handed to the SDK, by kind.
    observations: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    #: Without an answer when the import ended.
    pending: int = 0
    #: Given up, by reason.
    dropped: dict[str, int] = field(default_factory=dict)
    #: The line at which reading stopped because the endpoint took nothing any more.
    stopped_at: int | None = None

    @property
    def undelivered(self) -> int:
        """Count the observations that the endpoint did not acknowledge."""
        return self.observations.total() - self.delivered

    @property
    def unrecorded(self) -> int:
        """Count the observations that the SDK did not take: recording is turned off."""
        return self.undelivered - self.pending - sum(self.dropped.values())

    @property
    def complete(self) -> bool:
        """Whether every line was read and everything in it was delivered."""
        return not self.bad_lines and not self.undelivered and self.stopped_at is None


def import_lines(
    stream: BinaryIO,
    *,
    name: str,
    transport: IngestionTransport,
    on_bad_line: Callable[[int, str], None],
    on_progress: Callable[[int], None] = lambda _: None,
    on_form: Callable[[str], None] = lambda _: None,
    form: Form | None = None,
    app: str | None = None,
    stall_seconds: float = STALL_SECONDS,
) -> ImportSummary:
    """Read a file to its end, record what is in it, and wait until it is delivered.

    Args:
        stream: The file, open for reading bytes, at its beginning.
        name: The file's name: for messages, and its stem as the app of transcripts.
        transport: Where to; left open.
        on_bad_line: Called with the number of each line that is skipped, and the reason.
        on_progress: Called with the count of bytes read of the file as it is, packed or not.
        on_form: Called once, with what the file reads as: ``Anthropic messages, gzip``.
        form: How the file is written; None tells record by record.
        app: The app of everything in the file. Without it an event keeps its own, and a transcript
            goes to ``SESSIONBAT_APP`` or, without that, to the file's stem.
        stall_seconds: How long the endpoint may take nothing before reading stops; it stops at
            once where the endpoint refuses the key or is not there.

    Returns:
        Figures of what was read and delivered. An endpoint that stalls or refuses raises nothing:
        it shows in ``complete``, ``dropped`` and ``stopped_at``.

    Raises:
        ImportFileError: The first readable line is neither an event nor a transcript.
    """
    summary = ImportSummary(form=form, app=app)
    recorders = _Recorders(summary, name, transport, stall_seconds)
    sessions: set[int] = set()  # hashes: a file may hold millions of sessions
    number, read = 0, _Count()
    try:
        unpacked = unpack(stream, read.add)
        for found in _sessions_together(read_records(unpacked.stream)):
            number = found.number
            on_progress(read.take())
            summary.lines += 1
            try:
                for record, data in found.open():
                    one = recorders.find(record, number, unpacked.layers, on_form)
                    for kind, session in one.record(record, data):
                        summary.observations[kind] += 1
                        sessions.add(hash(session))
            except BadLine as problem:
                summary.bad_lines += 1
                on_bad_line(number, str(problem))
    except DamagedFileError as problem:
        summary.lines += 1
        summary.bad_lines += 1
        on_bad_line(number + 1, str(problem))
    except _StalledError:
        summary.stopped_at = number
    on_progress(read.take())
    summary.sessions = len(sessions)
    recorders.pace.finish(summary)
    return summary


class _Count:
    """Bytes read since it was last asked."""

    def __init__(self) -> None:
        self._read = 0

    def add(self, size: int) -> None:
        self._read += size

    def take(self) -> int:
        size, self._read = self._read, 0
        return size


@dataclass(frozen=True, slots=True)
class _Found:
    """A record of the file, or all messages of an array, which together are one session."""

    number: int
    records: list[Record]
    is_session: bool = False

    def open(self) -> Iterator[tuple[Json | list[Any], bytes]]:
        """Decode it, and what it wraps; with its bytes where they are an event's own.

        Raises:
            BadLine: It is broken.
        """
        if self.is_session:
            yield [parse_json(refuse_unread(record)) for record in self.records], b""
            return
        data = refuse_unread(self.records[0])
        value = parse_json(data)
        if not isinstance(value, (dict, list)):
            raise BadLine("not a JSON object")
        is_wrapping = isinstance(value, dict) and tell_form(value) is None
        wrapped = sessions_within(value) if is_wrapping else None
        if wrapped is None:
            yield value, b"" if b"\n" in data else data
        else:
            yield from ((inner, b"") for inner in wrapped)


def _sessions_together(records: Iterator[Record]) -> Iterator[_Found]:
    """Join an array's elements where they are messages of one session."""
    for array, group in groupby(records, key=lambda record: record.array):
        # One by one: an array may be the whole of a large file.
        messages: list[Record] | None = None
        size = 0
        for place, record in enumerate(group):
            if place == 0 and array and _is_message(record):
                messages = []
            if messages is None:
                yield _Found(record.number, [record])
                continue
            size += len(record.data or b"")
            messages.append(record if size <= MAX_LINE_BYTES else Record(record.number, None))
        if messages:
            yield _joined(messages)


def _joined(records: list[Record]) -> _Found:
    bad = next((record for record in records if record.problem or record.data is None), None)
    if bad is not None:
        return _Found(bad.number, [bad])
    return _Found(records[0].number, records, is_session=True)


def _is_message(record: Record) -> bool:
    try:
        value = parse_json(record.data or b"")
    except BadLine:
        return False
    return tell_form(value) is None and tell_form([value]) is not None


class _Recorders:
    """Has a recorder for events, and one for transcripts, each made when the file needs it."""

    def __init__(
        self,
        summary: ImportSummary,
        name: str,
        transport: IngestionTransport,
        stall_seconds: float,
    ) -> None:
        self.pace = _Pace(transport, stall_seconds)
        self._summary = summary
        self._given_form = summary.form
        self._given_app = summary.app
        self._name = name
        self._transport = transport
        self._events: _EventRecorder | None = None
        self._chats: _ChatRecorder | None = None

    def find(
        self,
        record: Json | list[Any],
        number: int,
        layers: list[str],
        on_form: Callable[[str], None],
    ) -> _EventRecorder | _ChatRecorder:
        """Tell a record's form and give who records it.

        Raises:
            ImportFileError: It is the first, and of no form.
            BadLine: It is of no form.
        """
        form = self._given_form or tell_form(record)
        is_first = not self._events and not self._chats
        if form is None and is_first:
            raise ImportFileError(
                f"line {number} of {self._name} is neither an event nor a chat transcript: it has "
                "no 'observation' and no 'messages'. Say what the file holds with --format.",
                slug="unknown-format",
            )
        if form is None:
            raise BadLine("neither an event nor a transcript")
        if is_first:
            self._summary.form = form
            self._summary.reads_as = ", ".join([NAMES[form], *layers])
            on_form(self._summary.reads_as)
        return self._for_events() if form == "events" else self._for_chats()

    def _for_events(self) -> _EventRecorder:
        if self._events is None:
            self._events = _EventRecorder(self._transport, self.pace, self._given_app)
        return self._events

    def _for_chats(self) -> _ChatRecorder:
        if self._chats is None:
            environment = os.environ.get("SESSIONBAT_APP")
            app = self._given_app or environment or _stem(self._name)
            self._summary.app = app
            dated = DatedTransport(self._transport)
            self._chats = _ChatRecorder(SessionBat(app=app, transport=dated), dated, self.pace)
        return self._chats


def _stem(name: str) -> str:
    """Give a file's name without its endings: of ``chats.jsonl.gz`` too."""
    path = Path(name)
    return Path(path.stem).stem if path.suffix.lower() in (".gz", ".zst") else path.stem


class _StalledError(Exception):
    """The endpoint has taken nothing for so long that reading on would only fill the queue."""


class _Pace:
    """Holds reading back to what the endpoint takes, so that the SDK's queue never overflows."""

    def __init__(self, transport: IngestionTransport, stall_seconds: float) -> None:
        self._transport = transport
        self._stall_seconds = stall_seconds
        self._undelivered_bytes = 0

    def make_room(self, size: int) -> None:
        """Wait until an event of this size may be on its way, too."""
        size = min(size, MAX_EVENT_BYTES) + _ENVELOPE_BYTES  # the SDK cuts what is longer
        if self._undelivered_bytes + size > MAX_UNDELIVERED_BYTES:
            self._drain()
        self._undelivered_bytes += size

    def finish(self, summary: ImportSummary) -> None:
        """Wait until all is delivered or given up, and note it."""
        if summary.stopped_at is None:
            with suppress(_StalledError):
                self._drain()
        stats = self._transport.stats()
        summary.delivered = stats.delivered
        summary.pending = stats.pending + stats.spooled
        summary.dropped = dict(stats.dropped)

    def _drain(self) -> None:
        waiting, since = -1, time.monotonic()
        while left := self._waiting():
            if left != waiting:
                waiting, since = left, time.monotonic()
            elif self._transport.is_denied or time.monotonic() - since >= self._stall_seconds:
                raise _StalledError
        self._undelivered_bytes = 0

    def _waiting(self) -> int:
        result = self._transport.flush(min(1.0, self._stall_seconds))
        return result.pending + result.spooled


class _EventRecorder:
    """Sends events as they were exported."""

    def __init__(self, transport: IngestionTransport, pace: _Pace, app: str | None) -> None:
        self._pace = pace
        self._transport = transport
        self._app = app

    def record(
        self, line: Json | list[Any], data: bytes, /
    ) -> Iterator[tuple[str, tuple[str, str]]]:
        """Record an event; tell its kind and its (app, session)."""
        if isinstance(line, list):
            raise BadLine("not a JSON object")
        event = parse_event(line, data, self._app)
        self._pace.make_room(len(event.data))
        self._transport.send(event)
        yield line["type"], (self._app or line["app"], line["session_id"])


class _ChatRecorder:
    """Records a transcript as the agent itself would have, had it used the SDK."""

    def __init__(self, client: SessionBat, dated: DatedTransport, pace: _Pace) -> None:
        self._pace = pace
        self._dated = dated
        self._client = client

    def record(self, line: Json | list[Any], _: bytes, /) -> Iterator[tuple[str, tuple[str, str]]]:
        """Record a transcript; of each observation, tell its kind and its (app, session)."""
        transcript = parse_transcript(line)
        session_id = transcript.session_id
        session = self._client.session(session_id=session_id, context=transcript.context)
        for step in transcript.steps():
            self._pace.make_room(step.size)
            self._dated.at = step.at
            _record_step(session.interaction(interaction_id=f"turn-{step.turn}"), step)
            yield step.kind, ("", session_id)


def _record_step(interaction: Interaction, step: Step) -> None:
    if step.kind == LLM:
        interaction.llm(
            model=step.name,
            input=step.input,
            output=step.output,
            error=step.error,
            metadata=step.metadata,
            metrics=step.metrics,
            observation_id=step.id,
        )
    else:
        interaction.tool_call(
            tool_name=step.name or "",
            input=step.input,
            output=step.output,
            error=step.error,
            metadata=step.metadata,
            metrics=step.metrics,
            observation_id=step.id,
        )
