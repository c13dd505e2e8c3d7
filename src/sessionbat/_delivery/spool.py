"""Events on disk while the endpoint is away: a directory of segments, replayed oldest first.

Written only for what an endpoint has not acknowledged ``SPOOL_AFTER_S`` after it was recorded, so
an endpoint that answers at once costs no disk write. Survives the process, not the machine: nothing
is synced. Every method takes its own lock and may wait for the disk; no caller holds the queue's.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sessionbat._clock import wall_clock
from sessionbat._delivery.segment import CAN_LOCK, SUFFIX, Extent, Segment
from sessionbat._settings import Destination

SPOOL_AFTER_S: Final = 0.15
MAX_SEGMENT_BYTES: Final = 4 * 1024 * 1024
MAX_SPOOL_BYTES: Final = 256 * 1024 * 1024
MAX_AGE_S: Final = 7 * 24 * 3600.0
ABOUT: Final = "about.json"


class SpoolFullError(OSError):
    """The spool holds as much as it may, and all of it belongs to somebody."""


class Spool:
    """The segments of one destination.

    Args:
        directory: Where; made when first written to, for this user only.
        about: What the directory is for, for people who look: never a key.
        max_bytes: The most that all segments there may take.
        clock: Seconds since the epoch; None asks the file system, whose clock dates the files.
    """

    def __init__(
        self,
        directory: Path,
        about: dict[str, str],
        *,
        max_bytes: int = MAX_SPOOL_BYTES,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self._about = about
        self._clock = clock or self._clock_of_files
        # Reentrant: a signal handler may keep what it recorded while its thread is adopting.
        self._lock = threading.RLock()
        self._current: Segment | None = None
        self._open: set[Segment] = set()
        # Emptied, but not to be deleted: held, so that nobody adopts them again and again.
        self._undeletable: list[Segment] = []

    def append(self, body: bytes, count: int) -> Extent:
        """Write events as one record.

        Raises:
            OSError: The directory cannot be made or written to, or the disk is full.
            SpoolFullError: The cap is reached; ``drop_oldest`` makes room.
        """
        with self._lock:
            segment = self._current
            if segment is None or segment.size >= MAX_SEGMENT_BYTES or segment.is_gone():
                if self._size() >= self.max_bytes:
                    raise SpoolFullError("the spool is full")
                segment = self._current = self._new_segment()
            return segment.append(body, count)

    def release(self, extents: list[Extent]) -> None:
        """Forget records that are not needed any more; a segment goes with its last."""
        with self._lock:
            for extent in extents:
                segment = extent.segment
                segment.live -= 1
                if segment.live == 0 and segment in self._open:
                    self._remove(segment)

    def adopt(self) -> Segment | None:
        """Take over the oldest segment that no process holds; None when there is none."""
        with self._lock:
            for path in self._paths():
                segment = Segment.adopt(path)
                if segment is not None:
                    self._open.add(segment)
                    return segment
            return None

    def has_orphans(self) -> bool:
        """Whether a look may find something to adopt: cheap, and wrong only on the safe side."""
        own = {segment.path.name for segment in list(self._open)}
        return any(path.name not in own for path in self._paths())

    def expired(self, segment: Segment) -> bool:
        """Whether a segment is older than anything is kept."""
        return self._clock() - segment.written_at() > MAX_AGE_S

    def _clock_of_files(self) -> float:
        # Segments are dated by the file system. A test that sets this process's clock years ahead,
        # or a file server whose clock differs, must not make what waits here look too old.
        try:
            os.utime(self.directory)
            return self.directory.stat().st_mtime
        except OSError:
            return wall_clock()

    def discard(self, segment: Segment) -> None:
        """Delete a segment with all that is in it."""
        with self._lock:
            self._remove(segment)

    def oldest(self) -> Segment | None:
        """Find the oldest of the segments that are open here, without the one being written."""
        with self._lock:
            closed = [segment for segment in self._open if segment is not self._current]
            return min(closed, key=lambda segment: segment.path.name, default=None)

    def close(self) -> None:
        """Let go of every segment; what is in them waits for the next process."""
        with self._lock:
            for segment in (*self._open, *self._undeletable):
                segment.close()
            self._open.clear()
            self._undeletable.clear()
            self._current = None

    def abandon_in_child(self) -> None:
        """Close what a forked child inherited; the locks stay the parent's."""
        self._lock = threading.RLock()
        self.close()

    def _new_segment(self) -> Segment:
        _make_private(self.directory)
        if not (self.directory / ABOUT).exists():
            self._write_about()
        segment = Segment.create(self.directory)
        self._open.add(segment)
        return segment

    def _write_about(self) -> None:
        # Under a hidden name first: a disk that takes the file but not its text leaves no wreck.
        hidden = self.directory / f".{ABOUT}"
        hidden.write_text(json.dumps(self._about) + "\n")
        hidden.chmod(0o600)
        hidden.rename(self.directory / ABOUT)

    def _remove(self, segment: Segment) -> None:
        self._open.discard(segment)
        if self._current is segment:
            self._current = None
        if not segment.remove():
            self._undeletable.append(segment)

    def _size(self) -> int:
        return sum(_file_size(path) for path in self._paths())

    def _paths(self) -> Iterator[Path]:
        try:
            names = sorted(os.listdir(self.directory))  # noqa: PTH208 - names sort by age
        except OSError:
            return
        for name in names:
            if name.endswith(SUFFIX) and not name.startswith("."):
                yield self.directory / name


def spool_root(given: str | None = None) -> Path:
    """Say where all spools are: as given, else the user's state directory (XDG).

    Raises:
        RuntimeError: There is no home directory, or it would change with the working directory.
    """
    if given:
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()
    if not base.is_absolute():
        raise RuntimeError("the home directory is no absolute path")
    return base / "sessionbat" / "spool"


def open_spool(destination: Destination, app: str, root: str | None) -> Spool | None:
    """Make the spool of a destination; None where there can be none (no ``flock``, no home).

    Processes of the same endpoint and app share it. Without a key the app does not matter: any
    process may deliver what another left.
    """
    if not CAN_LOCK:
        return None
    try:
        base = spool_root(root)
    except RuntimeError:  # no home directory
        return None
    about = {"endpoint": destination.endpoint, "app": app if destination.api_key else ""}
    identity = hashlib.sha256("\0".join(about.values()).encode()).hexdigest()[:16]
    return Spool(base / identity, about)


def _make_private(directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{directory} belongs to another user")
    if status.st_mode & 0o077:
        directory.chmod(0o700)


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
