"""Calls that the tests of delivery record, and what makes a client."""

from __future__ import annotations

from collections.abc import Callable

from sessionbat import SessionBat

NewClient = Callable[..., SessionBat]


def record(client: SessionBat, count: int, text: str = "hello") -> list[str]:
    interaction = client.session(session_id="s").interaction()
    return [interaction.llm(model="m", input=text, output=str(n)) for n in range(count)]
