"""How fast the machine is beside what else it does: bars of time are for one at rest."""

from __future__ import annotations

import subprocess
import sys
import time

# A second of work on each of two processors at rest, where the bars were measured.
_WORK = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'a', b'b', {rounds})"
_ROUNDS = 400_000
_AT_REST_S = 0.3


def slowness() -> float:
    """Say how many times as long as at rest two processes take that compute; 1 at the least."""
    return max(1.0, seconds_of_work() / _AT_REST_S)


def seconds_of_work() -> float:
    """Have two processes compute at the same time."""
    command = [sys.executable, "-c", _WORK.format(rounds=_ROUNDS)]
    started = time.monotonic()
    processes = [subprocess.Popen(command) for _ in range(2)]
    for process in processes:
        assert process.wait() == 0
    return time.monotonic() - started
