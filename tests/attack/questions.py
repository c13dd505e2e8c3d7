"""What an attacker asks of what he has stored: the dearest questions there are."""

from __future__ import annotations

import itertools
from urllib.parse import urlencode

from tests.attack.bodies import APP, Body, event, lines, text, zipped

BIG = "big"
LONG_TEXT = "long"


#: Sessions that ``groundwork`` stores, before all others.
FIRST = (BIG, "letters", *(f"{LONG_TEXT}{n}" for n in range(6)))


def groundwork() -> list[Body]:
    """What has to be there for the questions to be dear."""
    needles = text("needle haystack " * 44_000)
    many = b'{"a":[' + b",".join([b"{}"] * 110_000) + b"]}"
    return [
        lines(*(event(needles, kind="tool", session=f"{LONG_TEXT}{n}") for n in range(6))),
        lines(*(event(text("a b c d " * 100_000), kind="tool", session="letters")
                for _ in range(4))),
        *(zipped(lines(*(event(many, kind="tool", session=BIG) for _ in range(3))))
          for _ in range(8)),
        *(lines(*(event(text("needle " + "hay " * 200)) for _ in range(2_000)))
          for _ in range(2)),
    ]  # fmt: skip


def _cycle(*paths: tuple[str, dict[str, object]]) -> itertools.cycle[str]:
    return itertools.cycle([f"{path}?{urlencode(parameters)}" for path, parameters in paths])


_SEARCH = "/api/v1/search"

searches = _cycle(
    (_SEARCH, {"q": "needle"}),
    (_SEARCH, {"q": "needle haystack", "limit": 1000}),
    (_SEARCH, {"q": "a*", "limit": 1000}),
    (_SEARCH, {"q": "n* h*"}),
    (_SEARCH, {"q": "1* 2* 3* 4*"}),
    (_SEARCH, {"q": '"needle haystack needle haystack needle"'}),
    (_SEARCH, {"q": '"a b a b a b c"', "limit": 1000}),
    (_SEARCH, {"q": '"' + "needle haystack " * 100 + '"'}),
    (_SEARCH, {"q": " ".join(f"{letter}*" for letter in "abcdefghijklmnop")}),
    (_SEARCH, {"q": "天地玄黄"}),
    (_SEARCH, {"q": "一丁丂七丄丅丆万丈三上下"}),
)
views = _cycle(
    ("/session", {"app": APP, "id": BIG}),
    ("/session.json", {"app": APP, "id": BIG}),
    ("/session", {"app": APP, "id": f"{LONG_TEXT}1"}),
    ("/session", {"app": APP, "id": "s1"}),
    ("/session.json", {"app": APP, "id": "s2", "limit": 1000}),
)
answers = _cycle(
    ("/api/v1/events", {"app": APP, "session_id": BIG, "limit": 1000}),
    ("/api/v1/events", {"app": APP, "session_id": "s3", "limit": 1000}),
    ("/api/v1/sessions", {"sort": "duration", "limit": 1000}),
    ("/api/v1/sessions", {"sort": "errors", "min_tokens": 0, "limit": 1000}),
    ("/api/v1/sessions", {"tag": "tag1", "model": "m1", "error": "true"}),
    ("/sessions", {"limit": 1000}),
    ("/sessions.json", {}),
    (
        "/api/v1/statistics",
        {"by": "day", "from": "2260-01-01T00:00:00Z", "to": "2262-01-01T00:00:00Z",
         "group": "model"},
    ),
    ("/api/v1/statistics", {"by": "hour", "group": "model"}),
)  # fmt: skip
