"""How many files a reader opens to follow an event from the host's call to the wire."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from sessionbat import SessionBat
from sessionbat._delivery.batch import Batch
from sessionbat._delivery.posting import Poster
from sessionbat.testing import Endpoint

PAGE = Path(__file__).parents[2] / "docs" / "how-it-works.md"


def files_that_called() -> list[str]:
    """The package's files on the stack above the function that calls this, the outermost first."""
    found: list[str] = []
    frame = sys._getframe(2)
    while frame.f_back is not None:
        path = Path(frame.f_code.co_filename)
        if "sessionbat" in path.parts and path.name not in found:
            found.insert(0, path.name)
        frame = frame.f_back
    return found


def test_the_page_names_the_files_that_hand_an_event_on(
    endpoint: Endpoint, client: SessionBat, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks: dict[str, list[str]] = {}
    append, post = Batch.append, Poster.post

    def noted_append(self: Batch, *given: Any) -> None:
        stacks["queued"] = files_that_called()
        append(self, *given)

    def noted_post(self: Poster, *given: Any) -> Any:
        stacks["sent"] = files_that_called()
        return post(self, *given)

    monkeypatch.setattr(Batch, "append", noted_append)
    monkeypatch.setattr(Poster, "post", noted_post)
    client.session().interaction().llm(model="m", input="x")
    assert client.flush()
    on_the_way = [*stacks["queued"], *(name for name in stacks["sent"] if name != "threads.py")]
    named = re.search(r"files hand the event on, each to the next: (.*?);", PAGE.read_text(), re.S)
    assert named is not None
    assert on_the_way == re.findall(r"`([\w.]+)`", named[1])
    assert len(on_the_way) == 7
