"""One open operation, its clock, and the recording call made when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sessionbat._clock import perf_counter_ns
from sessionbat._timestamp import utc_text
from sessionbat.event import LLM, TOOL, new_event_id

if TYPE_CHECKING:
    import asyncio

    from sessionbat._encoding import Snapshot
    from sessionbat.client import Interaction


def _now() -> float:
    # Looked up at each call: a test of the host may have set the time, for ``created_at`` as well.
    return time.time()


class Clock(NamedTuple):
    """Tells the time: seconds since the epoch, and nanoseconds that never go back."""

    now: Callable[[], float] = _now
    ticks_ns: Callable[[], int] = perf_counter_ns


class Operation:
    """An operation, as known at its start.

    Args:
        key: The library's id of it, by which its end is reported.
        kind: The kind of observation to record; None for one that only contains others.
        interaction: The interaction to record it in.
    """

    # Defaults of the class, so that making one sets no more than it has to.
    interaction: Interaction | None = None
    #: The id it is recorded under; "" for one that is not.
    observation_id = ""
    name: str | None = None
    asked: Snapshot | None = None
    held_bytes = 0
    tags: Sequence[str] | None = None
    clock = Clock()
    begun_at = 0.0
    begun_ns = 0
    ended_ns = 0
    first_token_ns = 0
    last_piece: object = None
    #: The asyncio task that began it, where the book watches that.
    task: asyncio.Task[Any] | None = None

    def __init__(
        self, key: Hashable, kind: str | None, interaction: Interaction | None = None
    ) -> None:
        self.key = key
        self.kind = kind
        if interaction is not None:
            self.interaction = interaction
        self.metadata: dict[str, Any] = {}
        #: The pieces of the answer so far, in case it is cut short.
        self.pieces: list[Any] = []

    def start(self, clock: Clock) -> str:
        """Start the clock; returns the id under which the operation will be recorded."""
        self.clock = clock
        self.begun_at, self.begun_ns = clock.now(), clock.ticks_ns()
        self.observation_id = new_event_id()
        return self.observation_id

    def take_piece(self, piece: object, kept: object) -> bool:
        """Keep a piece of a streamed answer; False when it was already reported.

        Args:
            piece: The reported object, which identifies a second report; None if there is none.
            kept: The value to keep.
        """
        if piece is not None and piece is self.last_piece:
            return False
        self.last_piece = piece
        self.pieces.append(kept)
        return True

    def times(self) -> dict[str, float]:
        """Get ``latency_ms`` and ``time_to_first_token_ms`` as far as they are known."""
        if not self.ended_ns:  # a moment rather than an operation
            return {}
        times = {"latency_ms": round((self.ended_ns - self.begun_ns) / 1e6, 3)}
        if self.first_token_ns:
            times["time_to_first_token_ms"] = round((self.first_token_ns - self.begun_ns) / 1e6, 3)
        return times


def record(
    operation: Operation,
    interaction: Interaction,
    *,
    output: Any = None,
    error: Any = None,
    metadata: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Sequence[str] | None = None,
    context: Mapping[str, Any] | None = None,
) -> None:
    """Make the one recording call of an operation.

    Args:
        operation: Supplies kind, name, id, times and input.
        interaction: The interaction to record it in.
        output: Its output; the documents of a retrieval.
        error: Why it failed.
        metadata: All metadata; the operation's own if None.
        metrics: Metrics in addition to its times.
        tags: Tags of this record.
        context: Context of this record.
    """
    times = operation.times()
    arguments: dict[str, Any] = {
        "observation_id": operation.observation_id,
        # A text passes unchanged; converting seconds would take the API four times as long.
        "started_at": utc_text(int(operation.begun_at * 1_000_000) * 1000),
        "error": error,
        "metadata": operation.metadata if metadata is None else metadata,
        "metrics": {**times, **metrics} if metrics else times,
        "tags": tags,
        "context": context,
    }
    name, asked = operation.name, operation.asked
    if operation.kind == LLM:
        interaction.llm(name=name, input=asked, output=output, **arguments)
    elif operation.kind == TOOL:
        interaction.tool_call(tool_name=name, input=asked, output=output, **arguments)
    else:
        query = asked.value() if asked is not None else None
        interaction.retrieval(query=query, documents=output, name=name, **arguments)
