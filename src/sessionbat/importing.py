"""Exported events and chat transcripts, read line by line and recorded as a stranger would.

Called by the command line. A bad line costs nobody but itself. Ids come from the file or from its
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
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from sessionbat._import_formats import (
    BadLine,
    Form,
    Json,
    Step,
    parse_event,
    parse_object,
    parse_transcript,
    tell_form,
)
from sessionbat.client import Interaction, SessionBat
from sessionbat.errors import ImportFileError
from sessionbat.event import LLM, MAX_EVENT_BYTES
from sessionbat.transports import IngestionTransport

#: The most that one line may hold, which is also the most that a server takes in one body.
MAX_LINE_BYTES: Final = 32 * 1024 * 1024
#: Recorded and not yet delivered at any moment: well below the 64 MiB of the SDK's queue.
MAX_UNDELIVERED_BYTES: Final = 16 * 1024 * 1024
#: How long the endpoint may take nothing at all before the import is given up.
STALL_SECONDS: Final = 60.0

_ENVELOPE_BYTES = 1024  # of an event, beside its payload: an estimate on the safe side


@dataclass(slots=True)
class ImportSummary:
    """What was read, and what became of it; delivery as the endpoint's answers tell it."""

    form: Form | None = None
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
        on_progress: Called with the count of bytes read, line by line.
        form: ``events`` or ``chat``; None tells by the first readable line.
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
    summary = ImportSummary(form, app)
    recorder: _Recorder | None = None
    sessions: set[int] = set()  # hashes: a file may hold millions of sessions
    for number, data, size in read_lines(stream):
        on_progress(size)
        if data == b"":
            continue
        summary.lines += 1
        try:
            line = _parse(data)
            if recorder is None:
                summary.form = form or _tell_form(line, number, name)
                recorder = _make_recorder(summary, name, transport, stall_seconds)
            for kind, session in recorder.record(line, data or b""):
                summary.observations[kind] += 1
                sessions.add(hash(session))
        except BadLine as problem:
            summary.bad_lines += 1
            on_bad_line(number, str(problem))
        except _StalledError:
            summary.stopped_at = number
            break
    summary.sessions = len(sessions)
    if recorder is not None:
        recorder.pace.finish(summary)
    return summary


def _parse(data: bytes | None) -> Json:
    if data is None:
        raise BadLine(f"longer than {MAX_LINE_BYTES // 1024 // 1024} MiB")
    return parse_object(data)


def _tell_form(line: Json, number: int, name: str) -> Form:
    form = tell_form(line)
    if form is None:
        raise ImportFileError(
            f"line {number} of {name} is neither an event nor a chat transcript: it has no "
            "'observation' and no 'messages'. Say what the file holds with --format.",
            slug="unknown-format",
        )
    return form


def _make_recorder(
    summary: ImportSummary, name: str, transport: IngestionTransport, stall_seconds: float
) -> _Recorder:
    pace = _Pace(transport, stall_seconds)
    if summary.form == "events":
        return _EventRecorder(transport, pace, summary.app)
    summary.app = summary.app or os.environ.get("SESSIONBAT_APP") or Path(name).stem
    return _ChatRecorder(SessionBat(app=summary.app, transport=transport), pace)


class Line(NamedTuple):
    """One line of a file, its number counted from 1."""

    number: int
    #: Without white space at its ends; None when the line is too long to be read.
    data: bytes | None
    #: Its length in the file.
    size: int


def read_lines(stream: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """Read a stream line by line, holding about ``max_bytes`` of it at most."""
    number = 0
    while data := stream.readline(max_bytes + 1):
        number += 1
        size = len(data)
        if size > max_bytes and not data.endswith(b"\n"):
            yield Line(number, None, size + _skip_line(stream))
        else:
            byte_order_mark = b"\xef\xbb\xbf" if number == 1 else b""
            yield Line(number, data.removeprefix(byte_order_mark).strip(), size)


def _skip_line(stream: BinaryIO) -> int:
    skipped = 0
    while chunk := stream.readline(1024 * 1024):
        skipped += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return skipped


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


class _Recorder(Protocol):
    """Turns a line into recording calls."""

    pace: _Pace

    def record(self, line: Json, data: bytes, /) -> Iterator[tuple[str, tuple[str, str]]]:
        """Record what a line holds; of each observation, tell its kind and its (app, session)."""


class _EventRecorder:
    """Sends events as they were exported."""

    def __init__(self, transport: IngestionTransport, pace: _Pace, app: str | None) -> None:
        self.pace = pace
        self._transport = transport
        self._app = app

    def record(self, line: Json, data: bytes, /) -> Iterator[tuple[str, tuple[str, str]]]:
        event = parse_event(line, data, self._app)
        self.pace.make_room(len(event.data))
        self._transport.send(event)
        yield line["type"], (self._app or line["app"], line["session_id"])


class _ChatRecorder:
    """Records a transcript as the agent itself would have, had it used the SDK."""

    def __init__(self, client: SessionBat, pace: _Pace) -> None:
        self.pace = pace
        self._client = client

    def record(self, line: Json, _: bytes, /) -> Iterator[tuple[str, tuple[str, str]]]:
        transcript = parse_transcript(line)
        session_id = transcript.session_id
        session = self._client.session(session_id=session_id, context=transcript.context)
        for step in transcript.steps():
            self.pace.make_room(step.size)
            _record_step(session.interaction(interaction_id=f"turn-{step.turn}"), step)
            yield step.kind, ("", session_id)


def _record_step(interaction: Interaction, step: Step) -> None:
    if step.kind == LLM:
        interaction.llm(
            model=step.name,
            input=step.input,
            output=step.output,
            metadata=step.metadata,
            observation_id=step.id,
        )
    else:
        interaction.tool_call(
            tool_name=step.name or "",
            input=step.input,
            output=step.output,
            metadata=step.metadata,
            observation_id=step.id,
        )
