"""One session over real HTTP and the real store: its head, its turns, its evidence."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from sessionbat.server.pages.view.session import present_session
from sessionbat.server.records import StoredEvent
from tests.server.pages.markup import Document, Element
from tests.server.pages.payloads import long_agent_session
from tests.server.wire import Wire, event

Read = Callable[..., Document]
SESSION = {"app": "support-bot", "id": "thread_1"}


def user(words: str) -> dict[str, Any]:
    return {"role": "user", "content": words}


def assistant(words: str) -> dict[str, Any]:
    return {"role": "assistant", "content": words}


def asks_for(name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": function}]}


def llm(id_: str, messages: list[Any], output: Any, **changes: Any) -> dict[str, Any]:
    changes.setdefault("interaction_id", "i1")
    return event(
        id_, observation__input={"messages": messages}, observation__output=output, **changes
    )


def said(turn: Element) -> list[str]:
    """What the user asked and the AI answered, without the evidence."""
    return [
        child.one("div", "said").text
        for child in turn.children
        if isinstance(child, Element) and "message" in child.classes
    ]


def test_the_head_shows_the_figures_of_the_store(server: Wire, read: Read) -> None:
    used = {"input_tokens": 1000, "output_tokens": 5}
    server.send([llm("e1", [], "", observation__metrics=used), event("e2", type="tool")])
    figures = read("/session", **SESSION).one("dl", "figures")
    shown = {e.one("dt").text: e.one("dd").text for e in figures.all("div")}
    assert {name: shown[name] for name in list(shown)[:6]} == {
        "Errors": "0",
        "Turns": "1",
        "Model calls": "1",
        "Tool calls": "1",
        "Retrievals": "0",
        "Tokens in → out": "1 000 → 5",
    }


def test_a_turn_shows_what_was_asked_last_and_answered_finally(server: Wire, read: Read) -> None:
    earlier = [user("hello"), assistant("hi"), user("Where is my order?")]
    call = asks_for("track", "{}")
    server.send(
        [
            llm("e1", earlier, call),
            llm(
                "e2", [*earlier, call, {"role": "tool", "content": "lost"}], {"text": "It is lost."}
            ),
        ]
    )
    turn = read("/session", **SESSION).one("section", "turn")
    assert said(turn) == ["Where is my order?", "It is lost."]


def test_interactions_are_turns_in_order(server: Wire, read: Read) -> None:
    server.send([llm(f"e{n}", [user(f"q{n}")], f"a{n}", interaction_id=f"i{n}") for n in range(3)])
    turns = read("/session", **SESSION).all("section", "turn")
    assert [said(turn) for turn in turns] == [["q0", "a0"], ["q1", "a1"], ["q2", "a2"]]
    assert [turn.one("h2").text for turn in turns] == ["Turn 1", "Turn 2", "Turn 3"]


def test_observations_that_name_no_interaction_are_no_turn(server: Wire, read: Read) -> None:
    server.send([llm("e1", [user("q")], "a"), event("e2", type="tool")])
    page = read("/session", **SESSION)
    assert [h.text for h in page.all("h2") if h.text.endswith(("turn", "1"))] == [
        "Turn 1",
        "Outside any turn",
    ]


def test_a_resent_history_is_counted_and_not_sent_again(server: Wire, read: Read) -> None:
    messages: list[Any] = [user("start MARKER")]
    events = []
    for n in range(12):
        events.append(llm(f"e{n:02}", list(messages), assistant(f"answer {n}")))
        messages += [assistant(f"answer {n}"), user(f"more {n}")]
    server.send(events)
    page = read("/session", **SESSION)
    evidence = [page.by_id(f"e{n:02}") for n in range(12)]
    assert sum("MARKER" in each.text for each in evidence if each) == 1
    last = evidence[-1]
    assert last is not None
    assert last.one("p", "folded").text == "22 earlier messages, shown above. See all"
    assert last.link("shown above") == "#e10"


def test_a_history_never_shown_is_folded_before_the_users_words(server: Wire, read: Read) -> None:
    server.send(llm("e1", [user(f"m{n}") for n in range(9)], "done"))
    older = read("/session", **SESSION).one("details", "older")
    assert older.one("summary").text == "8 earlier messages"
    assert "m7" in older.text
    assert "m8" not in older.text


def test_agents_that_take_turns_each_have_a_history(server: Wire, read: Read) -> None:
    one, two = [user("one")], [user("two")]
    server.send(
        [
            llm("e1", one, "1"),
            llm("e2", two, "2"),
            llm("e3", [*one, assistant("1"), user("more")], "3"),
        ]
    )
    third = read("/session", **SESSION).by_id("e3")
    assert third is not None
    assert third.one("p", "folded").text.startswith("2 earlier messages")


def test_a_tools_answer_is_shown_once(server: Wire, read: Read) -> None:
    result = '{"seats": 12, "price": "RESULT"}'
    messages = [user("go"), asks_for("search", "{}"), {"role": "tool", "content": result}]
    server.send(
        [
            llm("e1", messages[:1], messages[1]),
            event("e2", type="tool", interaction_id="i1", observation__output=result),
            llm("e3", messages, "done"),
        ]
    )
    third = read("/session", **SESSION).by_id("e3")
    assert third is not None
    assert "RESULT" not in third.text
    assert third.link("shown above") == "#e1"
    assert any(a.attributes["href"] == "#e2" for a in third.all("a"))


def test_arguments_and_results_in_strings_are_shown_as_the_json_they_are(
    server: Wire, read: Read
) -> None:
    server.send(
        event("e1", type="tool", observation__input='{"a": [1]}', observation__output='{"b": "c"}')
    )
    evidence = read("/session", **SESSION).by_id("e1")
    assert evidence is not None
    assert [pre.text for pre in evidence.all("pre")] == ['{"a": [1]}', '{"b": "c"}']


def test_documents_have_titles_ids_and_score_bars(server: Wire, read: Read) -> None:
    documents = [
        {"id": "d1", "title": "Reset", "score": 0.93, "snippet": "Click here"},
        {"id": "d2", "score": 0.2, "content": "Other"},
    ]
    found = {"documents": documents}
    asked = {"query": "locked out"}
    server.send(event("e1", type="retrieval", observation__input=asked, observation__output=found))
    evidence = read("/session", **SESSION).by_id("e1")
    assert evidence is not None
    first, second = evidence.one("ol", "documents").all("li")
    assert (first.one("", "name").text, first.one("p", "id").text) == ("Reset", "d1")
    assert first.one("", "number").text == "0.93"
    assert [r.attributes["width"] for r in first.all("rect", "fill")] == ["93.0"]
    assert second.one("", "name").text == "d2"
    assert "Click here" in first.text
    assert "locked out" in evidence.text


def test_a_retrieval_that_found_nothing_says_so(server: Wire, read: Read) -> None:
    server.send(event("e1", type="retrieval", observation__output={"documents": []}))
    assert "nothing found" in read("/session", **SESSION).one("summary").text


def test_failures_are_listed_first_and_lead_to_their_observations(server: Wire, read: Read) -> None:
    error = {"type": "Timeout", "message": "no answer in 10 s"}
    server.send(
        [event(f"e{n}", type="tool", name="track", observation__error=error) for n in range(2)]
    )
    page = read("/session", **SESSION)
    failures = page.one("section", "failures")
    assert "Timeout: no answer in 10 s" in failures.text
    assert [a.attributes["href"] for a in failures.all("a")] == ["#e0", "#e0", "#e1"]
    assert all(page.by_id(id_) for id_ in ("e0", "e1"))


@pytest.mark.parametrize("status", ["cancelled", "interrupted"])
def test_a_cancelled_observation_is_shown_as_cancelled_and_not_as_an_error(
    server: Wire, read: Read, status: str
) -> None:
    server.send(llm("e1", [user("q")], "half an ans", observation__metadata={"status": status}))
    page = read("/session", **SESSION)
    assert {pill.text for pill in page.all("span", "pill")} == {status}
    assert page.all("section", "failures") == []


def test_a_turn_that_ends_in_a_failure_has_no_answer(server: Wire, read: Read) -> None:
    server.send(llm("e1", [user("q")], None, observation__error="rate limit"))
    turn = read("/session", **SESSION).one("section", "turn")
    assert said(turn) == ["q", "No answer: the last step failed."]


def test_latency_and_tokens_are_in_units_for_people(server: Wire, read: Read) -> None:
    metrics = {"latency_ms": 2412.3, "input_tokens": 12403, "cost_usd": 0.0412, "mine": 7}
    server.send(event("e1", observation__metrics=metrics))
    page = read("/session", **SESSION)
    facts = {e.one("dt").text: e.one("dd").text for e in page.one("dl", "facts").all("div")}
    assert facts["Latency"] == "2.4 s"
    assert facts["Input tokens"] == "12 403"
    assert facts["Cost"] == "$0.0412"
    assert facts["mine"] == "7"


def test_context_and_tags_of_all_stand_in_the_head_only(server: Wire, read: Read) -> None:
    context = {"locale": "fr", "user_id": "u1"}
    server.send(
        [
            event("e1", context=context, tags=["prod", "beta"]),
            event("e2", context={**context, "step": "2"}, tags=["prod"]),
        ]
    )
    page = read("/session", **SESSION)
    chips = [(e.one("dt").text, e.one("dd").text) for e in page.one("dl", "context").all("div")]
    assert chips[:3] == [("app", "support-bot"), ("user_id", "u1"), ("locale", "fr")]
    second = page.by_id("e2")
    assert second is not None
    assert "step" in second.text
    assert "locale" not in second.text
    assert "prod" not in second.text


def test_pages_hold_every_observation_once_and_count_on(server: Wire, read: Read) -> None:
    server.send(
        [llm(f"e{n}", [user(f"q{n}")], f"a{n}", interaction_id=f"i{n // 2}") for n in range(5)]
    )
    page = read("/session", **SESSION, limit="3")
    assert "Observations 1 to 3 of 5" in page.text
    page_two = read(page.link("Next observations →"))
    assert "Observations 4 to 5 of 5" in page_two.text
    ids = [e.attributes["id"] for p in (page, page_two) for e in p.all("div", "evidence")]
    assert ids == ["e0", "e1", "e2", "e3", "e4"]
    headings = [h.one("h2").text for h in page_two.all("section", "turn")]
    assert headings == ["Turn 2", "Turn 3"]
    assert "continued" in page_two.all("section", "turn")[0].text


def test_long_texts_are_cut_visibly_and_whole_on_the_events_own_page(
    server: Wire, read: Read
) -> None:
    server.send(llm("e1", [user("q")], "w" * 10_000))
    page = read("/session", **SESSION)
    assert "2 000 more characters." in page.text
    assert "w" * 8001 not in page.html
    assert "w" * 10_000 in read(page.link("In full")).html


def test_an_event_alone_repeats_its_history_and_leads_back(server: Wire, read: Read) -> None:
    server.send(
        [
            llm("e1", [user("FIRST")], "1"),
            llm("e2", [user("FIRST"), assistant("1"), user("2")], "3"),
        ]
    )
    page = read("/session", **SESSION, event="e2")
    assert "FIRST" in page.text
    assert page.link("Link to this") == "/session?app=support-bot&id=thread_1#e2"


@pytest.mark.parametrize(
    ("parameters", "status", "slug"),
    [
        ({"app": "support-bot", "id": "nobody"}, 404, "no-such-session"),
        ({"app": "nobody", "id": "thread_1"}, 404, "no-such-session"),
        ({**SESSION, "event": "nothing"}, 404, "no-such-event"),
        ({**SESSION, "after": "rubbish"}, 400, "bad-after"),
        ({"app": "support-bot"}, 400, "missing-parameter"),
        ({"id": "thread_1"}, 400, "missing-parameter"),
    ],
)
def test_a_missing_session_or_event_is_answered_by_a_page(
    exhibition: Wire, parameters: dict[str, str], status: int, slug: str
) -> None:
    answer = exhibition.get("/session", **parameters)
    assert answer.status == status
    assert Document(answer.body.decode()).one("p", "code").text == f"{status} {slug}"


@pytest.mark.slow
def test_a_page_of_a_long_agent_session_stays_small(server: Wire, read: Read) -> None:
    server.send(long_agent_session(200))
    page = read("/session", app="support-bot", id="long-agent")
    assert len(page.all("details", "step")) == 200
    assert len(page.html) < 700_000


@pytest.mark.slow
def test_presenting_a_page_takes_a_few_times_its_decoding() -> None:
    stored = [StoredEvent(e["id"], json.dumps(e).encode()) for e in long_agent_session(200)]

    def cpu_seconds(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    decoding = min(cpu_seconds(lambda: [each.event for each in stored]) for _ in range(3))
    presenting = min(cpu_seconds(lambda: present_session(stored)) for _ in range(3))
    # 3 to 5 times; comparing every message with every other would be 50 times.
    assert presenting < 12 * decoding
