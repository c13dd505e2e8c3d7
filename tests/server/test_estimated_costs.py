"""Estimated costs over real HTTP: in the API and on the pages, always marked as such."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.server.pages.markup import Document
from tests.server.wire import Wire, event

API = "/api/v1"
ASKED = {"app": "support-bot", "session_id": "thread_1"}
TOKENS = {"input_tokens": 1000, "output_tokens": 100}


def call(id: str = "e1", provider: str = "openai", **metrics: Any) -> dict[str, Any]:
    metadata = {"model": "gpt-5.4-mini", "provider": provider}
    return event(id, observation__metadata=metadata, observation__metrics={**TOKENS, **metrics})


def html_of(server: Wire, page: str = "/session", **more: str) -> str:
    answer = server.get(page, app="support-bot", id="thread_1", **more)
    assert answer.status == 200
    return answer.body.decode()


def figures(server: Wire, page: str = "/session", **more: str) -> dict[str, str]:
    """Labels and values of a page."""
    found: dict[str, str] = {}
    for each in Document(html_of(server, page, **more)).all("div"):
        if len(each.all("dt")) == len(each.all("dd")) == 1:
            found.setdefault(each.one("dt").text, each.one("dd").text)
    return found


@pytest.mark.parametrize(
    ("calls", "given", "estimated"),
    [
        ([call()], 0.0, 0.0012),
        ([call(cost_usd=0.5)], 0.5, 0.0),
        ([call(), call("e2", cost_usd=0.5)], 0.5, 0.0012),
        ([call(provider="ollama")], 0.0, 0.0),
    ],
)
def test_the_api_tells_estimates_apart(
    server: Wire, calls: list[Any], given: float, estimated: float
) -> None:
    server.send(calls)
    found = server.get(f"{API}/session", **ASKED).json
    assert (found["cost_usd"], found["cost_estimated"]) == (given, estimated)
    (listed,) = server.get(f"{API}/sessions").json["items"]
    assert listed == found

    def counted() -> Any:
        span = {"by": "day", "from": "2026-11-22T00:00:00Z", "to": "2026-11-23T00:00:00Z"}
        return server.get(f"{API}/statistics", **span).json["items"]

    (day,) = eventually(counted)
    assert (day["cost_usd"], day["cost_estimated"]) == (given, estimated)


def test_events_are_given_as_they_came(server: Wire) -> None:
    server.send([call()])
    (item,) = server.get(f"{API}/events", **ASKED).json["items"]
    assert item["observation"]["metrics"] == TOKENS


def test_the_page_marks_an_estimate(server: Wire) -> None:
    server.send([call()])
    shown = figures(server)
    assert shown["Cost"] == "≈ $0.0012 estimated"
    assert figures(server, event="e1")["Cost"] == "≈ $0.0012 estimated"


def test_the_page_adds_up_nothing_that_is_estimated_and_given(server: Wire) -> None:
    server.send([call(), call("e2", cost_usd=0.5)])
    body = html_of(server)
    head = body[: body.index("</dl>")]
    assert "$0.50" in head and "≈ $0.0012 estimated" in head and "0.5012" not in body
    assert figures(server, event="e2")["Cost"] == "$0.50"


@pytest.mark.parametrize("changes", [{"provider": "ollama"}, {"output_tokens": None}])
def test_the_page_says_nothing_of_a_cost_that_is_not_known(
    server: Wire, changes: dict[str, Any]
) -> None:
    server.send([call(**changes)])
    assert "Cost" not in figures(server)
    assert "estimated" not in html_of(server)


def test_own_prices_are_given_by_a_file(start_server: Callable[..., Wire], tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('[models."ollama/gpt-5.4-mini"]\ninput = 10\noutput = 0\n')
    server = start_server(prices=prices)
    server.send([call(provider="ollama")])
    assert server.get(f"{API}/session", **ASKED).json["cost_estimated"] == 0.01


def test_the_table_is_read_by_the_first_model_call_and_not_by_the_start(tmp_path: Path) -> None:
    code = (
        "import sys; from sessionbat.server.store.opening import open_store;"
        " from sessionbat.server.prices import price_table;"
        " open_store('sqlite:///' + sys.argv[1]).close();"
        " print('genai_prices' in sys.modules, price_table.shipped_table.cache_info().currsize)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["False", "0"], done.stderr
