"""Send every event to SessionBat and, as OpenTelemetry spans, to another backend beside it."""

import sys
import time

from sessionbat import FlushResult, SessionBat, Stats
from sessionbat.event import EncodedEvent
from sessionbat.transports import CountingTransport, IngestionTransport, OTLPTransport


class Tee(CountingTransport):
    """Hands each event to two transports; flush and stats of the client tell of the first."""

    def __init__(self, first: CountingTransport, second: CountingTransport) -> None:
        super().__init__()
        self._first, self._second = first, second
        self.ledger = first.ledger

    def send(self, event: EncodedEvent) -> None:
        self._first.send(event)
        self._second.send(event)

    def flush(self, timeout: float | None = 30.0) -> FlushResult:
        return self._both("flush", timeout)

    def close(self, timeout: float | None = 30.0) -> FlushResult:
        return self._both("close", timeout)

    def stats(self) -> Stats:
        return self._first.stats()

    def _both(self, what: str, timeout: float | None) -> FlushResult:
        ends_at = None if timeout is None else time.monotonic() + timeout
        result = getattr(self._first, what)(timeout)
        left = None if ends_at is None else max(0.0, ends_at - time.monotonic())
        getattr(self._second, what)(left)
        return result


if __name__ == "__main__":
    ours, theirs = sys.argv[1:3]  # http://127.0.0.1:8000 and http://127.0.0.1:4318, for example
    spans = OTLPTransport(theirs)  # headers={"Authorization": "Basic ..."} where a key is needed
    with SessionBat(
        app="support-bot", transport=Tee(IngestionTransport(endpoint=ours), spans)
    ) as c:
        turn = c.session(session_id="thread_123").interaction(interaction_id="turn_1")
        turn.llm(model="gpt-5.4-mini", input="I am locked out", output="Use the reset link.")
        print(c.flush(5), spans.flush(5))
