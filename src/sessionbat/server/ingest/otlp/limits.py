"""How much one span may hold, counted while it is read, whichever form it comes in."""

from __future__ import annotations

from typing import Final

from sessionbat.server.reading.json_values import MAX_EVENT_VALUES

#: Levels of lists and maps in an attribute; what an attribute holds as a JSON text does not count.
MAX_LEVELS: Final = 64


class Unreadable(Exception):
    """A span, log record or body is not what the protocol says.

    Args:
        slug: As in ``Rejected``.
        message: What is wrong and what to do, without anything of the span.
    """

    def __init__(self, slug: str, message: str) -> None:
        super().__init__(message)
        self.slug = slug
        self.message = message


class Counted:
    """Counts the values of one span, and says no when there are too many."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_EVENT_VALUES

    def take(self) -> None:
        """Count one more.

        Raises:
            Unreadable: There are too many.
        """
        self.left -= 1
        if self.left < 0:
            raise Unreadable(
                "too-many-values", f"more than {MAX_EVENT_VALUES} values; send fewer attributes"
            )

    @property
    def taken(self) -> int:
        """How many there were."""
        return MAX_EVENT_VALUES - self.left


def check_level(level: int) -> None:
    """Say no to what is nested too deep.

    Raises:
        Unreadable: It is.
    """
    if level > MAX_LEVELS:
        raise Unreadable("too-deep", f"nested deeper than {MAX_LEVELS} levels; send JSON as text")
