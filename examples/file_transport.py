"""A transport of one's own that counts: a thread appends each event to a file, as one line."""

import sys
import threading
from collections import deque
from pathlib import Path

from sessionbat import SessionBat
from sessionbat.event import EncodedEvent
from sessionbat.transports import CountingTransport


class FileTransport(CountingTransport):
    def __init__(self, path: str | Path, most_waiting: int = 10_000) -> None:
        super().__init__()
        self._path, self._most_waiting = Path(path), most_waiting
        self._waiting: deque[bytes] = deque()
        self._closed = False
        self._changed = threading.Condition(self.ledger.lock)
        threading.Thread(target=self._write, daemon=True).start()

    def send(self, event: EncodedEvent) -> None:
        with self._changed:
            if self._closed or len(self._waiting) == self._most_waiting:
                self.ledger.record_dropped("closed" if self._closed else "queue-full")
            else:
                self._waiting.append(event.data)
                self.ledger.recorded += 1
                self._changed.notify_all()

    def flush(self, timeout: float | None = 30.0) -> None:
        with self._changed:
            sent = self.ledger.recorded  # settled in the order in which they came
            self._changed.wait_for(
                lambda: self.ledger.recorded - self.ledger.pending >= sent, timeout
            )

    def close(self, timeout: float | None = 30.0) -> None:
        self.flush(timeout)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _write(self) -> None:
        while (line := self._next()) is not None:
            try:
                with self._path.open("ab") as file:
                    file.write(line + b"\n")
                written = True
            except OSError:
                written = False
            with self._changed:
                if written:
                    self.ledger.deliver()
                else:
                    self.ledger.drop("not-written")
                self._changed.notify_all()

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.popleft() if self._waiting else None


if __name__ == "__main__":
    transport = FileTransport(sys.argv[1] if len(sys.argv) > 1 else "/dev/stdout")
    with SessionBat(app="support-bot", transport=transport) as client:
        client.session(session_id="thread_123").interaction().llm(
            model="gpt-5.4-mini", input="I am locked out", output="Use the reset link."
        )
        print(client.flush(timeout=5), file=sys.stderr)
