"""SessionBat, as its README says."""

from __future__ import annotations

from sessionbat import SessionBat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.workload import Call


class Recorder:
    def __init__(self, address: str) -> None:
        self._client = SessionBat(app="bench", endpoint=f"{address}/api/v1/ingestion/events")
        session = self._client.session(session_id="thread_123")
        self._interaction = session.interaction(interaction_id="interaction_123")

    def record(self, call: Call) -> None:
        self._interaction.llm(
            model=call.model, input=call.input, output=call.output, metrics=call.metrics
        )

    def flush(self) -> None:
        self._client.flush(timeout=60.0)


def start(address: str, *, unbounded: bool = False) -> Recorder:
    return Recorder(address)
