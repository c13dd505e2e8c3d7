"""An exported event, made an event again."""

from __future__ import annotations

from sessionbat._importing.bad import BadLine
from sessionbat._importing.json_values import Json, encode
from sessionbat.event import EncodedEvent, find_problem


def parse_event(line: Json, data: bytes, app: str | None) -> EncodedEvent:
    """Make an exported event an event again: the very bytes, unless it moves to another app.

    Args:
        line: The event, decoded.
        data: Its bytes, as they stand in the file on one line; none where they do not.
        app: The app that it moves to.

    Raises:
        BadLine: It is no event, or holds what no endpoint could read.
    """
    event = line if app is None else line | {"app": app}
    problem = find_problem(event)
    if problem is not None:
        raise BadLine(f"{problem.at}: {problem.message}" if problem.at else problem.message)
    # Also where the bytes stay as they are: a lone surrogate or 1e999 must not leave the process.
    encoded = encode(event, ascii_only=False)
    return EncodedEvent(event["id"], data if app is None and data else encoded)
