"""Feedback from web pages: what is taken, from where, and what its key is good for."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from sessionbat.errors import ConfigurationError, StoreError
from sessionbat.server.access.keys import new_key
from sessionbat.server.ingest.feedback import MAX_BODY_BYTES
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.server.wire import PATH as INGESTION
from tests.server.wire import Answer, Wire, event

PATH = "/api/v1/feedback"
SHOP = "https://shop.example.com"
MakeKey = Callable[..., str]


def send(server: Wire, body: Any = None, origin: str | None = None, **fields: Any) -> Answer:
    body = {"session_id": "thread_1", "score": 1, **fields} if body is None else body
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Origin": origin} if origin else {})
    return server.request("POST", PATH, data, headers)


def ask_first(server: Wire, origin: str) -> Answer:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return server.request("OPTIONS", PATH, headers=headers)


def refused(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.slug


@pytest.fixture
def page(server: Wire, make_key: MakeKey) -> Wire:
    """A server as a page of the shop reaches it."""
    return server.with_key(make_key("feedback", "support-bot", SHOP))


@pytest.fixture
def admin(server: Wire, make_key: MakeKey) -> Wire:
    return server.with_key(make_key("admin"))


# What is taken


def test_it_is_stored_as_an_event_of_feedback(page: Wire, admin: Wire) -> None:
    answer = send(
        page, interaction_id="t1", observation_id="o1", label="up", comment="Grüße 😀", id="f1"
    )
    assert answer.status == 202
    assert answer.json == {"accepted": 1, "duplicates": 0, "rejected": []}
    [stored] = admin.stored()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", stored.pop("created_at"))
    assert stored == {
        "type": "feedback", "id": "f1", "app": "support-bot", "session_id": "thread_1",
        "interaction_id": "t1", "tags": [], "context": {},
        "feedback": {
            "score": 1, "label": "up", "comment": "Grüße 😀", "source": "user",
            "observation_id": "o1", "outcome": None, "reason": None,
        },
    }  # fmt: skip


def test_sent_again_with_its_id_it_is_stored_once(page: Wire, admin: Wire) -> None:
    assert [send(page, id="f1").json["duplicates"] for _ in range(2)] == [0, 1]
    assert [send(page).json["duplicates"] for _ in range(2)] == [0, 0]
    assert len(admin.stored()) == 3


@pytest.mark.parametrize(
    ("fields", "score"),
    [({"score": True}, 1), ({"score": False}, 0), ({"score": -0.5}, -0.5), ({"score": None}, None)],
)
def test_a_score_is_a_number_or_true_or_false(
    page: Wire, admin: Wire, fields: dict[str, Any], score: Any
) -> None:
    assert send(page, comment="x", **fields).status == 202
    found = admin.stored()[0]["feedback"]["score"]
    assert (found, type(found)) == (score, type(score))


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "session_id"), ({"session_id": "s"}, ""), ({"session_id": ""}, "session_id"),
        ({"session_id": 5, "score": 1}, "session_id"), ({"session_id": None}, "session_id"),
        ({"session_id": "s", "score": "5"}, "score"), ({"session_id": "s", "score": []}, "score"),
        ({"session_id": "s", "comment": ""}, ""), ({"session_id": "s", "comment": {}}, "comment"),
        ({"session_id": "s", "label": "x" * 257}, "label"),
        ({"session_id": "s", "comment": "x" * 8193}, "comment"),
        ({"session_id": "s", "score": 1, "observation_id": "é"}, "observation_id"),
        ({"session_id": "s", "score": 1, "observation_id": 5}, "observation_id"),
        ({"session_id": "s", "score": 1, "id": ""}, "id"),
        ({"session_id": "s", "score": 1, "interaction_id": []}, "interaction_id"),
        ({"session_id": "s", "score": 1, "observationId": "o"}, "observationId"),
        ({"session_id": "s", "score": 1, "source": "app"}, "source"),
        ({"session_id": "s", "score": 1, "outcome": "helped"}, "outcome"),
        ([], ""), (5, ""), (None, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(page: Wire, admin: Wire, body: Any, at: str) -> None:
    answer = send(page, json.dumps(body).encode())
    assert refused(answer) == (422, "bad-feedback")
    assert answer.json["error"]["at"] == at
    assert admin.stored("s") == []


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b"{", 400, "not-json"), (b"", 400, "not-json"), (b"\xff", 400, "not-json"),
        (b'{"session_id": "s", "score": 1e999}', 400, "not-json"),
        (b'{"session_id": "s", "score": NaN}', 400, "not-json"),
        (b'{"session_id": "\\ud800", "score": 1}', 400, "not-json"),
        (b" " * (MAX_BODY_BYTES + 1), 413, "body-too-large"),
    ],
)  # fmt: skip
def test_a_body_that_is_none_is_refused(page: Wire, body: bytes, status: int, slug: str) -> None:
    assert refused(send(page, body)) == (status, slug)


def test_a_small_body_that_inflates_is_refused(page: Wire) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = page.request("POST", PATH, gzip.compress(b" " * 10**7), headers)
    assert refused(answer) == (413, "body-too-large")


@pytest.mark.parametrize("character", ["x", "é", "東", "😀"])
def test_the_longest_comment_fits_in_any_script(page: Wire, character: str) -> None:
    body = {"session_id": "s", "comment": character * 8192}
    assert send(page, json.dumps(body, ensure_ascii=False).encode()).status == 202


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_browser_sends_without_asking_is_refused(page: Wire, content_type: str) -> None:
    answer = page.request("POST", PATH, b'{"session_id": "s"}', {"Content-Type": content_type})
    assert refused(answer) == (415, "unknown-content-type")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_refused(page: Wire, method: str) -> None:
    answer = page.request(method, PATH)
    assert refused(answer) == (405, "method-not-allowed")


# From where


@pytest.mark.parametrize("origin", [SHOP, "https://www.example.com", "http://localhost:3000"])
def test_a_page_of_a_named_origin_may_send(server: Wire, make_key: MakeKey, origin: str) -> None:
    key = make_key(
        "feedback", "support-bot", SHOP, "https://www.example.com", "http://localhost:3000"
    )
    asked = ask_first(server, origin)
    assert (asked.status, asked.body) == (204, b"")
    assert asked.headers["access-control-allow-origin"] == origin
    assert asked.headers["access-control-allow-methods"] == "POST"
    assert asked.headers["access-control-allow-headers"] == "authorization, content-type"
    assert asked.headers["vary"] == "Origin"
    answer = send(server.with_key(key), origin=origin)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (202, origin)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example.com", "http://shop.example.com", f"{SHOP}:8443", "null", "*", "é",
     f"{SHOP}.evil.com", "shop.example.com", f"{SHOP} https://evil.example.com", "https://"],
)  # fmt: skip
def test_a_page_of_another_origin_may_not(page: Wire, admin: Wire, origin: str) -> None:
    raw = origin.encode().decode("latin-1")
    for answer in (ask_first(page, raw), send(page, origin=raw)):
        assert refused(answer) == (403, "wrong-origin")
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"
    assert admin.stored() == []


def test_a_key_is_held_to_its_own_origins(page: Wire, make_key: MakeKey) -> None:
    make_key("feedback", "other", "https://other.example.com")
    answer = send(page, origin="https://other.example.com")
    assert refused(answer) == (403, "wrong-origin")
    # Its pages may read that, as some key names them.
    assert answer.headers["access-control-allow-origin"] == "https://other.example.com"


def test_an_origin_goes_with_the_last_key_that_names_it(
    server: Wire, make_key: MakeKey, revoke_key: Callable[[str], None]
) -> None:
    key = make_key("feedback", "support-bot", SHOP)
    assert ask_first(server, SHOP).status == 204
    revoke_key(key)
    assert refused(ask_first(server, SHOP)) == (403, "wrong-origin")
    assert refused(send(server.with_key(key), origin=SHOP)) == (401, "bad-key")


def test_a_page_can_read_why_it_was_refused(page: Wire) -> None:
    wrong = page.with_key("sbat_feedback_" + "a" * 40)
    for answer, slug in (
        (send(wrong, origin=SHOP), "bad-key"),
        (send(page, b"{", origin=SHOP), "not-json"),
        (send(page.with_key(""), origin=SHOP), "bad-key"),
    ):
        assert answer.slug == slug
        assert answer.headers["access-control-allow-origin"] == SHOP


def test_no_other_address_answers_across_origins(page: Wire, admin: Wire) -> None:
    for path in ("/api/v1/sessions", INGESTION, "/sessions", "/healthz"):
        for server in (page, admin):
            answer = server.request("GET", path, headers={"Origin": SHOP})
            assert "access-control-allow-origin" not in answer.headers
    assert ask_first(page, SHOP).headers["access-control-allow-origin"] == SHOP


def test_without_any_key_no_page_of_elsewhere_gets_in(server: Wire) -> None:
    assert refused(ask_first(server, SHOP)) == (403, "wrong-origin")
    assert send(server, app="a").status == 202


def test_a_store_that_cannot_be_asked_lets_no_page_in(
    page: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bool:
        raise StoreError("the disk is gone", slug="store-failed")

    monkeypatch.setattr(SqliteStore, "allows_origin", broken)
    answer = ask_first(page, SHOP)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


# What the key is good for


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/sessions"), ("GET", "/api/v1/search?q=a"), ("GET", "/metrics"),
        ("GET", "/sessions"), ("GET", "/api/v1/openapi.json"), ("POST", INGESTION),
        ("GET", "/nothing"), ("POST", "/nothing"), ("DELETE", "/api/v1/sessions"),
        ("GET", f"{PATH}/x"), ("POST", "/api/v1/events"),
    ],
)  # fmt: skip
def test_a_feedback_key_does_nothing_else(page: Wire, method: str, path: str) -> None:
    answer = page.request(method, path, json.dumps(event()).encode())
    assert refused(answer) == (403, "feedback-only")
    assert PATH in answer.json["error"]["message"]


def test_its_app_is_the_keys(page: Wire, admin: Wire) -> None:
    assert send(page, app="support-bot").status == 202
    answer = send(page, app="other")
    assert refused(answer) == (422, "wrong-app")
    assert admin.stored(app="other") == []


def test_keys_that_write_may_send_it_and_keys_that_read_may_not(
    server: Wire, make_key: MakeKey
) -> None:
    assert send(server.with_key(make_key("ingest", "support-bot"))).status == 202
    admin = server.with_key(make_key("admin"))
    assert send(admin, app="support-bot", origin="https://any.example.com").status == 202
    assert refused(send(admin)) == (422, "bad-feedback")
    assert refused(send(server.with_key(make_key("read")))) == (403, "not-allowed")
    assert refused(send(server)) == (401, "no-key")


def test_nobody_logs_in_with_it(server: Wire, make_key: MakeKey) -> None:
    key = make_key("feedback", "support-bot", SHOP)
    form = server.get("/login")
    token = re.search(rb'name="token" value="([^"]+)"', form.body)
    assert token is not None
    answer = server.request(
        "POST",
        "/login",
        f"key={key}&token={token[1].decode()}&next=",
        {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": form.headers["set-cookie"].partition(";")[0],
        },
    )
    assert answer.status == 403
    assert b"does nothing else" in answer.body


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (SHOP, SHOP), ("https://Shop.Example.com/", SHOP), (f"{SHOP}:443", SHOP),
        ("http://localhost:3000", "http://localhost:3000"), ("http://a.b:80", "http://a.b"),
        ("http://[::1]:8080", "http://[::1]:8080"), ("https://a.b:0080", "https://a.b:80"),
    ],
)  # fmt: skip
def test_an_origin_is_kept_as_browsers_write_it(given: str, written: str) -> None:
    assert new_key("feedback", "a", "", [given, given])[1].origins == (written,)


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "shop.example.com", "https://shop.example.com/path", "ftp://a.b", "https://",
     "https://a.b:70000", "https://a b", "https://user@a.b", "https://a.b?x", "https://bücher.de",
     "https://*.example.com", ""],
)  # fmt: skip
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="http or https") as refusal:
        new_key("feedback", "a", "", [origin])
    assert refusal.value.slug == "key-origin"


def test_a_feedback_key_needs_an_app_and_origins_and_no_other_key_takes_them() -> None:
    for kind, app, origins, slug in (
        ("feedback", None, [SHOP], "key-app"),
        ("feedback", "a", [], "key-origin"),
        ("ingest", "a", [SHOP], "key-origin"),
        ("read", None, [SHOP], "key-origin"),
        ("admin", None, [SHOP], "key-origin"),
    ):
        with pytest.raises(ConfigurationError) as refusal:
            new_key(kind, app, "", origins)  # type: ignore[arg-type]
        assert refusal.value.slug == slug
