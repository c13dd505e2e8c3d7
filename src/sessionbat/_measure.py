"""``with interaction.measure_llm(...) as call``: input at entry, clock, error at exit.

Given a record callable and what was known at entry; it neither knows the client nor the transport.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from sessionbat._clock import perf_counter


class Measurement:
    """One operation under way; recorded once, completed, when the block ends.

    Set ``output``, and add to ``metadata`` and ``metrics``, inside the block. ``latency_ms`` is
    measured unless you set it. An exception that leaves the block becomes the observation's error
    and goes on; a cancellation is ``metadata["status"] = "cancelled"`` and no error. After the
    block nothing changes any more.
    """

    def __init__(
        self,
        record: Callable[[Measurement], object],
        *,
        id: str,
        metadata: dict[str, Any],
        metrics: dict[str, Any],
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        #: The observation's id, known from the start so that others may refer to it.
        self.id = id
        #: What came out: any value; for a retrieval, the list of documents.
        self.output: Any = None
        #: Set it to attach an error that was handled inside the block.
        self.error: Any = None
        self.metadata = metadata
        self.metrics = metrics
        #: When the block was entered; UTC.
        self.started_at = datetime.now(UTC)
        self._record = record
        self._clock = clock
        self._begun = clock()

    def __copy__(self) -> Measurement:
        """A copy of what holds it goes on with the same operation."""
        return self

    def __deepcopy__(self, memo: object) -> Measurement:
        """As ``__copy__``."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Carry the id to another process; the operation is recorded where it began."""
        return _elsewhere, (self.id,)

    def __enter__(self) -> Measurement:
        """Start the clock."""
        self.started_at = datetime.now(UTC)
        self._begun = self._clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Record the observation; an exception goes on."""
        elapsed_ms = (self._clock() - self._begun) * 1000
        if isinstance(self.metrics, dict):
            self.metrics.setdefault("latency_ms", round(elapsed_ms, 3))
        if was_cancelled(error):
            if isinstance(self.metadata, dict):
                self.metadata.setdefault("status", "cancelled")
        elif error is not None and self.error is None:
            self.error = error
        self._record(self)


def _elsewhere(id: str) -> Measurement:
    return Measurement(_recorded_elsewhere, id=id, metadata={}, metrics={})


def _recorded_elsewhere(_: Measurement) -> None: ...


def was_cancelled(error: BaseException | None) -> bool:
    """Whether an operation ended by its caller's wish, which is no failure of it."""
    if isinstance(error, GeneratorExit):
        return True
    asyncio = sys.modules.get("asyncio")  # where it is not loaded, nothing of it was raised
    return asyncio is not None and isinstance(error, asyncio.CancelledError)
