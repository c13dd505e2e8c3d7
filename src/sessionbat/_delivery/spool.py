"""Events on disk while the endpoint is away: a directory of segments, replayed oldest first.

Written only for what an endpoint has not acknowledged ``SPOOL_AFTER_S`` after it was recorded, so
an endpoint that answers at once costs no disk write. Survives the process, not the machine: nothing
is synced. Every method takes its own lock and may wait for the disk; no caller holds the queue's.
It trusts nobody: what is not this user's alone is left as it is, and what is damaged is set aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sessionbat._clock import wall_clock
from sessionbat._delivery import progress
from sessionbat._delivery.segment import (
    CAN_LOCK,
    SET_ASIDE,
    SUFFIX,
    Extent,
    Part,
    Segment,
    set_aside,
)
from sessionbat._delivery.trust import (
    UntrustedError,
    is_ours,
    is_trusted_directory,
    make_private,
)
from sessionbat._settings import EVENTS, Destination

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
        # Names of what is not trusted, so that each is counted and said once.
        self._distrusted: set[str] = set()
        #: How many files could not be trusted, or not be read whole.
        self.set_aside = 0
        #: Told of each: its name, and why.
        self.on_set_aside: Callable[[str, str], None] | None = None

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

    def note_done(self, parts: list[Part]) -> None:
        """Note events that are settled where others of their record are not."""
        with self._lock:
            for part in parts:
                part.extent.segment.note_done(part)

    def release(self, extents: list[Extent]) -> None:
        """Forget records that are not needed any more; a segment goes with its last."""
        with self._lock:
            for extent in extents:
                extent.segment.live -= 1
            for extent in extents:
                segment = extent.segment
                if segment.live == 0:
                    if segment in self._open:
                        self._remove(segment)
                elif extent.offset not in segment.damaged:
                    segment.note_done(Part(extent, 0, extent.events))

    def adopt(self) -> Segment | None:
        """Take over the oldest segment that no process holds; None when there is none."""
        with self._lock:
            for path in self._paths():
                try:
                    segment = Segment.adopt(path)
                except UntrustedError as error:
                    self._distrust(path, str(error))
                    continue
                if segment is not None:
                    self._open.add(segment)
                    return segment
            self._tidy()
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
        self.renew_lock()
        self.close()

    def renew_lock(self) -> None:
        """Make a new lock, where nobody can be holding the old one any more."""
        self._lock = threading.RLock()

    def _new_segment(self) -> Segment:
        make_private(self.directory)
        if not (self.directory / ABOUT).exists():
            self._write_about()
        segment = Segment.create(self.directory)
        self._open.add(segment)
        return segment

    def _write_about(self) -> None:
        # Under a hidden name first: a disk that takes the file but not its text leaves no wreck.
        # And under one of its own: several children may begin to write at the same moment.
        hidden = self.directory / f".{ABOUT}-{secrets.token_hex(4)}"
        try:
            hidden.write_text(json.dumps(self._about) + "\n")
            hidden.chmod(0o600)
            hidden.rename(self.directory / ABOUT)
        except OSError:
            hidden.unlink(missing_ok=True)
            raise

    def _remove(self, segment: Segment) -> None:
        self._open.discard(segment)
        if self._current is segment:
            self._current = None
        if not segment.damaged:
            gone = segment.remove()
        elif gone := segment.set_aside():
            self._tell_set_aside(segment.path, "it is damaged")
        if not gone:
            self._undeletable.append(segment)

    def _distrust(self, path: Path, why: str) -> None:
        """Set aside what is ours, and leave alone what is not."""
        if is_ours(path):
            try:
                if not set_aside(path):
                    return
            except OSError:
                pass
        self._distrusted.add(path.name)
        self._tell_set_aside(path, why)

    def _tell_set_aside(self, path: Path, why: str) -> None:
        self.set_aside += 1
        if self.on_set_aside is not None:
            self.on_set_aside(path.name, why)

    def _tidy(self) -> None:
        """Delete notes whose segment is gone, and what was set aside longer ago than is kept."""
        latest = self._clock() - MAX_AGE_S
        for path in self._named(progress.SUFFIX, SET_ASIDE):
            with contextlib.suppress(OSError):
                alone = path.suffix == progress.SUFFIX and not path.with_suffix(SUFFIX).exists()
                if alone or (path.suffix == SET_ASIDE and path.lstat().st_mtime < latest):
                    path.unlink()

    def _size(self) -> int:
        return sum(_file_size(path) for path in self._named(SUFFIX, progress.SUFFIX, SET_ASIDE))

    def _paths(self) -> Iterator[Path]:
        return (path for path in self._named(SUFFIX) if path.name not in self._distrusted)

    def _named(self, *suffixes: str) -> Iterator[Path]:
        """List files by name: that sorts segments by age."""
        try:
            if not is_trusted_directory(self.directory):
                return
            names = sorted(os.listdir(self.directory))  # noqa: PTH208 - names sort by age
        except UntrustedError as error:
            self._distrust_directory(str(error))
            return
        except OSError:
            return
        for name in names:
            if name.endswith(suffixes) and not name.startswith("."):
                yield self.directory / name

    def _distrust_directory(self, why: str) -> None:
        if "" not in self._distrusted:
            self._distrusted.add("")
            self._tell_set_aside(self.directory, why)


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
    about = {"endpoint": destination.endpoint, "app": app if destination.has_secret else ""}
    if destination.wire != EVENTS:
        about["wire"] = destination.wire
    return Spool(base / directory_name(**about), about)


def directory_name(endpoint: str, app: str, wire: str = EVENTS) -> str:
    """Name the spool of an endpoint and app; events that go another way are apart."""
    apart = "" if wire == EVENTS else f"\0{wire}"
    return hashlib.sha256(f"{endpoint}\0{app}{apart}".encode()).hexdigest()[:16]


def _file_size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
