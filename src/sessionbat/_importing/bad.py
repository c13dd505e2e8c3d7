"""Why something cannot be imported, in words that hold nothing of its content."""

from __future__ import annotations


class BadLine(ValueError):
    """A line, or one record of a file, that costs nobody but itself."""


class DamagedFileError(Exception):
    """The file cannot be read any further: cut off, or not what it says it is."""
