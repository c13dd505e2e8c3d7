"""The pages in a real Chromium: quiet console, keys, narrow and dark, and without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.server.pages.payloads import ATTRIBUTE, MARKUP
from tests.server.wire import Wire, event

#: Each needs a browser, and seconds: run by CI.
pytestmark = pytest.mark.slow

#: What Chromium itself reports: each answer that is not 2xx, of which that of a missing page is
#: meant, and that a test was faster with a field than the page's autofocus.
CHROMIUMS_OWN = ("404 (Not Found)", "Autofocus processing was blocked")

LIST = "/sessions"
LONG = "/session?" + urlencode({"app": "support-bot", "id": "long-agent"})
HOSTILE = "/session?" + urlencode({"app": MARKUP, "id": MARKUP})
ALONE = HOSTILE + "&" + urlencode({"event": ATTRIBUTE})
ODD = "/session?" + urlencode({"app": "support-bot", "id": "odd-retrieval"})
NOWHERE = "/session?app=support-bot&id=nobody"
EVERY_PAGE = [LIST, LONG, HOSTILE, ALONE, ODD, NOWHERE]

#: WCAG 2 contrast of every visible text with what is painted behind it.
_POOR_CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map((v) => v / 255).map(
      (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const background = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = rgba(getComputedStyle(e).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const [a, b] = [getComputedStyle(element).color, 0].map((c, i) =>
      luminance(i ? background(element) : rgba(c)));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push([ratio.toFixed(2), element.className, element.textContent]);
  }
  return poor;
}
"""

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def tabs(chromium: Any) -> Iterator[Callable[..., Any]]:
    """One tab for each set of options, used by test after test: opening one takes half a second."""
    opened: dict[str, Any] = {}

    def tab(**options: Any) -> Any:
        key = json.dumps(options, sort_keys=True)
        if key not in opened:
            opened[key] = page = chromium.new_page(
                **{"viewport": {"width": 1280, "height": 900}, **options}
            )
            page.set_default_timeout(10_000)
        return opened[key]

    yield tab
    for page in opened.values():
        page.close()


@pytest.fixture
def open_page(tabs: Callable[..., Any], exhibition: Wire) -> Iterator[Open]:
    """Open pages; at the end of the test none of them has complained."""
    complaints: list[str] = []
    listeners: list[tuple[Any, str, Any]] = []

    def listen(page: Any, kind: str, complain: Callable[[Any], None]) -> None:
        page.on(kind, complain)
        listeners.append((page, kind, complain))

    def open_(path: str, server: Wire = exhibition, **options: Any) -> Any:
        page = tabs(**options)
        page.goto("about:blank")  # what an earlier test's page still asks for is not this test's
        listen(page, "console", lambda message: complaints.append(message.text))
        listen(page, "pageerror", lambda error: complaints.append(str(error)))
        listen(page, "dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        page.goto(server.url + path)
        return page

    yield open_
    for page, kind, complain in listeners:
        page.remove_listener(kind, complain)
    assert [c for c in complaints if not any(own in c for own in CHROMIUMS_OWN)] == []


def open_everything(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")


@pytest.mark.parametrize("path", [HOSTILE, ALONE])
def test_no_page_complains_or_runs_what_a_payload_says(open_page: Open, path: str) -> None:
    page = open_page(path)
    open_everything(page)
    assert page.evaluate("document.scripts.length") == 1


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_nothing_overflows_at_320_pixels(open_page: Open, path: str) -> None:
    page = open_page(path, viewport={"width": 320, "height": 700})
    open_everything(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", [LIST, LONG, ALONE])
def test_all_text_has_contrast(open_page: Open, path: str, scheme: str) -> None:
    page = open_page(path, color_scheme=scheme)
    page.evaluate(
        "[...document.querySelectorAll('details')].slice(0, 60).forEach(d => d.open = true)"
    )
    assert page.evaluate(_POOR_CONTRAST) == []


def focused(page: Any) -> str:
    text: str = page.evaluate("document.activeElement.innerText ?? ''")
    return text.strip().splitlines()[0] if text.strip() else ""


def test_j_and_k_walk_the_sessions_and_enter_opens_one(open_page: Open) -> None:
    page = open_page(LIST)
    names = [name.strip() for name in page.locator("a.name").all_inner_texts()]
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert focused(page) == names[1]
    page.keyboard.press("Enter")
    page.wait_for_url("**/session?*")


def test_slash_filters_what_is_on_the_page_and_the_address_keeps_it(open_page: Open) -> None:
    page = open_page(LIST)
    page.keyboard.press("/")
    page.keyboard.type("migrate")
    assert page.locator("a.name:visible").all_inner_texts() == ["migrate it all"]
    page.reload()
    assert page.locator("a.name:visible").count() == 1
    page.keyboard.press("/")
    page.keyboard.type("no such thing")
    assert page.get_by_text("Nothing on this page matches.").is_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement === document.body")


def test_enter_opens_a_step_and_e_finds_the_error(open_page: Open) -> None:
    page = open_page(LONG)
    page.keyboard.press("e")
    row = page.locator("details.step:has(:focus)")
    assert "deadlock" in row.locator("summary").first.inner_text()
    page.keyboard.press("Enter")
    assert row.locator(".failure").is_visible()
    page.keyboard.press("u")
    page.wait_for_url("**/sessions")


def test_o_opens_every_step_and_closes_them_again(open_page: Open) -> None:
    page = open_page(LONG)
    page.keyboard.press("o")
    assert page.locator("details.step[open]").count() == 60
    page.keyboard.press("o")
    assert page.locator("details.step[open]").count() == 0


def test_keys_are_listed_on_the_page_and_in_the_help(open_page: Open) -> None:
    page = open_page(LIST)
    assert page.locator("footer .keys").is_visible()
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keyboard").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()


@pytest.mark.parametrize("javascript", [True, False], ids=["with-script", "without-script"])
def test_a_deep_link_opens_its_observation(open_page: Open, javascript: bool) -> None:
    page = open_page(f"{LONG}#long-20", java_script_enabled=javascript)
    evidence = page.locator("[id='long-20']")
    evidence.wait_for(state="visible")
    assert page.locator("details.step[open]").count() == 1
    box = evidence.bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 900


def test_an_error_in_the_head_leads_to_its_observation(open_page: Open) -> None:
    page = open_page(LONG)
    page.locator(".failures a").first.click()
    page.locator("details.step.failed .failure").first.wait_for(state="visible")


def test_without_script_everything_is_there_and_nothing_that_needs_it(open_page: Open) -> None:
    page = open_page(LIST, java_script_enabled=False)
    assert page.locator("[data-script]:visible").count() == 0
    page.get_by_role("link", name="migrate it all").click()
    page.locator("details.step summary").first.click()
    assert page.locator("details.step .evidence").first.is_visible()


def test_the_empty_page_becomes_the_list_when_an_event_arrives(
    open_page: Open, server: Wire
) -> None:
    page = open_page("/", server)
    assert page.get_by_text("Waiting for the first event.").is_visible()
    server.send(event(observation__input={"prompt": "hello"}))
    page.get_by_role("link", name="hello").wait_for()


def test_printing_shows_what_was_closed(open_page: Open) -> None:
    page = open_page(LONG)
    page.emulate_media(media="print")
    assert page.locator(".evidence:visible").count() == 60
    assert page.locator("footer .keys").is_hidden()
    page.emulate_media(media="screen")


def test_the_twin_is_announced_and_is_json(open_page: Open) -> None:
    page = open_page(LONG)
    answer = page.request.get(page.locator("a.twin").evaluate("a => a.href"))
    assert json.loads(answer.text())["session"]["session_id"] == "long-agent"


# Logging in


@pytest.mark.parametrize("javascript", [True, False])
def test_a_person_logs_in_reads_and_logs_out(
    open_page: Open, server: Wire, make_key: Callable[..., str], javascript: bool
) -> None:
    server.send(event())
    key = make_key("read", "support-bot")
    page = open_page("/session?app=support-bot&id=thread_1", server, java_script_enabled=javascript)
    assert page.title().startswith("Log in")
    page.fill("#sessionbat-key", key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/session?app=support-bot&id=thread_1")
    assert page.locator("h1").inner_text().startswith("thread_1")
    page.click("text=Log out")
    page.wait_for_url("**/login")
    page.go_back()
    assert page.title().startswith("Log in")  # nothing is shown from a cache


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_form_has_contrast_and_fits_a_phone(
    open_page: Open, server: Wire, make_key: Callable[..., str], scheme: str
) -> None:
    make_key("read")
    narrow = {"width": 320, "height": 700}
    page = open_page("/login", server, viewport=narrow, color_scheme=scheme)
    assert page.evaluate("document.activeElement.id") == "sessionbat-key"
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.evaluate(_POOR_CONTRAST) == []
