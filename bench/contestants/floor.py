"""The floor: the least that Python can do. A tuple, a thread, one POST for each 500 events.

No limit, no retry, no snapshot, no account of anything: this says what the machine allows, it is
no way to record. `floor_fast` encodes with orjson and compresses with zstd.
"""

from __future__ import annotations

import atexit
import http.client
import json
import threading
import time
import zlib
from collections import deque
from os import urandom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bench.workload import Call

BATCH_EVENTS = 500
LINGER_S = 0.05


class Recorder:
    def __init__(
        self,
        address: str,
        encode: Callable[[Any], bytes],
        compress: Callable[[bytes], bytes],
        encoding: str,
    ) -> None:
        self._connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=2)
        self._encode, self._compress, self._encoding = encode, compress, encoding
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._sending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        atexit.register(self.flush)

    def record(self, call: Call) -> None:
        self._waiting.append(
            (urandom(16).hex(), time.time_ns(), call.model, call.input, call.output, call.metrics)
        )

    def flush(self) -> None:
        while (self._waiting or self._sending) and self._thread.is_alive():
            time.sleep(0.001)

    def _run(self) -> None:
        waiting = self._waiting
        while True:
            if not waiting:
                time.sleep(LINGER_S)
                continue
            self._sending = True
            count = min(len(waiting), BATCH_EVENTS)
            body = b"\n".join([self._line(*waiting.popleft()) for _ in range(count)])
            try:
                self._post(self._compress(body))
            except OSError:
                return
            self._sending = False

    def _line(
        self, event_id: str, at: int, model: str, input: Any, output: Any, metrics: Any
    ) -> bytes:
        return self._encode(
            {
                "type": "llm",
                "id": event_id,
                "created_at": at,
                "app": "bench",
                "session_id": "thread_123",
                "interaction_id": "interaction_123",
                "tags": [],
                "context": {},
                "observation": {
                    "kind": "llm",
                    "name": None,
                    "started_at": None,
                    "input": input,
                    "output": output,
                    "error": None,
                    "metadata": {"model": model},
                    "metrics": metrics,
                },
            }
        )

    def _post(self, body: bytes) -> None:
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": self._encoding}
        self._connection.request("POST", "/floor", body, headers)
        self._connection.getresponse().read()


def start(address: str, *, unbounded: bool = False, fast: bool = False) -> Recorder:
    if not fast:
        encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
        return Recorder(
            address,
            lambda event: encode(event).encode(),
            lambda body: zlib.compress(body, 1, wbits=31),
            "gzip",
        )
    import orjson
    import zstandard

    return Recorder(address, orjson.dumps, zstandard.ZstdCompressor(level=1).compress, "zstd")
