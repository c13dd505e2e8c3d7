"""Logging in with a browser's means: a form, cookies, redirects; no JavaScript."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from sessionbat.server.access import throttle
from sessionbat.server.access.keys import id_of, new_key
from sessionbat.server.access.login_cookie import LOGIN_SECONDS, LoginCookie
from tests.server.pages.markup import Document
from tests.server.wire import PATH, Answer, Wire, event

MakeKey = Callable[..., str]
RevokeKey = Callable[[str], None]


class Browser:
    """Keeps cookies, sends forms as they stand on a page, follows nothing by itself."""

    def __init__(self, server: Wire) -> None:
        self.address = server.address
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []

    def request(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[Answer, Document | None]:
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        self.set_cookies = response.headers.get_all("Set-Cookie") or []
        for line in self.set_cookies:
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        answer = Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )
        connection.close()
        is_page = answer.headers.get("content-type", "").startswith("text/html")
        return answer, Document(answer.body.decode()) if is_page else None

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)[0]

    def page(self, path: str) -> Document:
        answer, page = self.request("GET", path)
        assert page is not None, answer
        return page

    def submit(self, page: Document, action: str, headers: Any = None, **fields: str) -> Answer:
        """Send the page's form of this action, as it stands but for what is typed into it."""
        (form,) = [f for f in page.all("form") if f.attributes.get("action") == action]
        assert form.attributes["method"] == "post"
        standing = {e.attributes["name"]: e.attributes.get("value", "") for e in form.all("input")}
        body = urlencode({**standing, **fields})
        return self.request("POST", action, body, **(headers or {}))[0]

    def log_in(self, key: str, path: str = "/login", headers: Any = None) -> Answer:
        return self.submit(self.page(path), "/login", headers, key=key)


@pytest.fixture
def browser(server: Wire) -> Browser:
    return Browser(server)


def where(answer: Answer) -> str:
    assert answer.status == 303, (answer.status, answer.body)
    return answer.headers["location"]


# In


@pytest.mark.parametrize("path", ["/sessions", "/session", "/"])
def test_a_page_leads_to_the_form_and_the_form_back_to_the_page(
    browser: Browser, make_key: MakeKey, path: str
) -> None:
    key = make_key("read")
    asked = f"{path}?app=a%20b&id=%C3%A9"
    form = where(browser.get(asked))
    assert form.startswith("/login?next=")
    assert where(browser.log_in(key, form)) == asked


def test_a_logged_in_browser_reads_pages_twins_and_the_api(
    server: Wire, browser: Browser, make_key: MakeKey
) -> None:
    server.send(event())
    browser.log_in(make_key("read", "support-bot"))
    assert "thread_1" in browser.page("/sessions").text
    assert browser.get("/sessions.json").json["apps"] == ["support-bot"]
    assert len(browser.get("/api/v1/sessions").json["items"]) == 1


def test_a_twin_and_the_api_do_not_lead_to_the_form(browser: Browser, make_key: MakeKey) -> None:
    make_key("read")
    for path in ("/sessions.json", "/session.json", "/api/v1/sessions", PATH, "/nothing"):
        answer = browser.get(path)
        assert (answer.status, answer.slug) == (401, "no-key")
        assert answer.headers["www-authenticate"] == 'Bearer realm="SessionBat"'


def test_a_logged_in_browser_sees_only_the_app_of_its_key(
    server: Wire, browser: Browser, make_key: MakeKey
) -> None:
    server.send([event(), event("e2", app="other", session_id="s2")])
    browser.log_in(make_key("read", "support-bot"))
    page = browser.page("/sessions")
    assert [a.text for a in page.all("a", "name")] == ["thread_1"]
    assert browser.get("/session?app=other&id=s2").status == 404


@pytest.mark.parametrize("kind", ["read", "admin"])
def test_a_login_never_writes(server: Wire, browser: Browser, make_key: MakeKey, kind: str) -> None:
    browser.log_in(make_key(kind))
    for path in (PATH, "/api/v1/sessions", "/sessions"):
        answer, _ = browser.request("POST", path, "{}")
        assert (answer.status, answer.slug) == (403, "not-allowed")


def test_a_proxy_that_asks_for_a_password_of_its_own_is_not_in_the_way(
    browser: Browser, make_key: MakeKey
) -> None:
    proxied = {"Authorization": "Basic YTpi"}
    key = make_key("read")
    assert where(browser.get("/sessions", **proxied)).startswith("/login")
    browser.log_in(key, headers=proxied)
    assert browser.get("/sessions", **proxied).status == 200


def test_where_no_key_is_needed_there_is_no_form(browser: Browser) -> None:
    assert where(browser.get("/login?next=/session?id=1")) == "/session?id=1"


def test_a_logged_in_browser_gets_no_login_form(browser: Browser, make_key: MakeKey) -> None:
    browser.log_in(make_key("read"))
    assert where(browser.get("/login")) == "/sessions"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/ok\r\nSet-Cookie: a=b",
        "sessions",
        "",
    ],
)
def test_the_form_never_leads_elsewhere(
    browser: Browser, make_key: MakeKey, elsewhere: str
) -> None:
    key = make_key("read")
    page = browser.page(f"/login?next={quote(elsewhere, safe='')}")
    assert where(browser.submit(page, "/login", key=key, next=elsewhere)) == "/sessions"
    assert where(browser.get(f"/login?next={quote(elsewhere, safe='')}")) == "/sessions"


def test_an_address_too_long_to_be_passed_on_leads_to_the_list(
    browser: Browser, make_key: MakeKey
) -> None:
    make_key("read")
    assert where(browser.get("/sessions?after=" + "a" * 3000)) == "/login"


# Refused


def test_a_wrong_key_gets_the_form_again_without_the_key(
    browser: Browser, make_key: MakeKey
) -> None:
    make_key("read")
    stranger = new_key("read", None, "")[0]
    answer = browser.log_in(stranger, "/login?next=/session?id=1")
    page = Document(answer.body.decode())
    assert answer.status == 401
    assert page.one("p", "failure").text.startswith("This key is unknown or revoked")
    assert stranger not in page.html
    assert where(browser.submit(page, "/login", key=make_key("read"))) == "/session?id=1"


def test_an_ingest_key_does_not_log_in(browser: Browser, make_key: MakeKey) -> None:
    assert browser.log_in(make_key("ingest", "support-bot")).status == 403
    assert browser.get("/sessions").status == 303


def test_too_many_wrong_keys_are_told_to_wait_while_a_right_one_is_served(
    browser: Browser, make_key: MakeKey
) -> None:
    key = make_key("read")
    answers = [browser.log_in("wrong") for _ in range(throttle.ALLOWANCE + 1)]
    assert [a.status for a in answers] == [401] * throttle.ALLOWANCE + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert browser.log_in(key).status == 303


@pytest.mark.parametrize("token", ["", "x", "ü", "A" * 43])
def test_a_form_of_another_site_does_not_log_in(
    browser: Browser, make_key: MakeKey, token: str
) -> None:
    key = make_key("read")
    page = browser.page("/login")
    assert browser.submit(page, "/login", key=key, token=token).status == 403
    assert browser.get("/sessions").status == 303


def test_a_form_without_its_cookie_does_not_log_in(browser: Browser, make_key: MakeKey) -> None:
    key = make_key("read")
    page = browser.page("/login")
    browser.cookies.clear()
    answer = browser.submit(page, "/login", key=key)
    assert answer.status == 403
    # what came back is a form that does work
    page = Document(answer.body.decode())
    assert browser.submit(page, "/login", key=key).status == 303


def test_a_form_of_one_browser_does_not_work_in_another(
    server: Wire, browser: Browser, make_key: MakeKey
) -> None:
    key = make_key("read")
    theirs = Browser(server).page("/login")
    browser.page("/login")
    assert browser.submit(theirs, "/login", key=key).status == 403


def test_two_tabs_can_both_show_the_form(browser: Browser, make_key: MakeKey) -> None:
    key = make_key("read")
    first = browser.page("/login")
    browser.page("/login")
    assert browser.submit(first, "/login", key=key).status == 303


@pytest.mark.parametrize(
    ("body", "status"),
    [("x" * 9000, 413), ("&".join(f"a{n}=1" for n in range(50)), 400), ("\xff=1", 400), ("", 403)],
)
def test_a_body_that_is_no_form_is_refused(
    browser: Browser, make_key: MakeKey, body: str, status: int
) -> None:
    make_key("read")
    assert browser.request("POST", "/login", body)[0].status == status


# The cookie


def test_the_cookie_is_for_this_server_alone_and_holds_no_key(
    browser: Browser, make_key: MakeKey
) -> None:
    key = make_key("read")
    browser.page("/login")
    (form,) = browser.set_cookies
    assert "httponly" in form.lower()
    assert "samesite=strict" in form.lower()
    browser.log_in(key)
    (line,) = [line for line in browser.set_cookies if "max-age=0" not in line.lower()]
    attributes = {part.strip().lower() for part in line.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/", f"max-age={LOGIN_SECONDS}"} <= attributes
    assert "secure" not in attributes
    assert "domain" not in line.lower()
    assert key[-32:] not in line


def test_behind_https_the_cookie_is_sent_over_https_only(
    browser: Browser, make_key: MakeKey
) -> None:
    browser.log_in(make_key("read"), headers={"X_Forwarded_Proto": "https"})
    (line,) = [line for line in browser.set_cookies if "max-age=0" not in line.lower()]
    assert "secure" in {part.strip().lower() for part in line.split(";")}
    page = browser.get("/sessions", X_Forwarded_Proto="https").body.decode()
    assert f"https://127.0.0.1:{browser.address[1]}" in page


def test_a_login_ends_with_its_key_at_once(
    browser: Browser, make_key: MakeKey, revoke_key: RevokeKey
) -> None:
    key = make_key("read")
    browser.log_in(key)
    assert browser.get("/sessions").status == 200
    revoke_key(key)
    assert where(browser.get("/sessions")).startswith("/login")
    assert browser.get("/api/v1/sessions").status == 401


def test_a_restart_ends_no_login(
    browser: Browser, make_key: MakeKey, start_server: Callable[..., Wire]
) -> None:
    browser.log_in(make_key("read"))
    browser.address = start_server().address
    assert browser.get("/sessions").status == 200


def test_a_login_of_one_store_is_none_of_another_and_does_not_overwrite_it() -> None:
    # Browsers send a cookie to every port of a machine.
    one, other = LoginCookie(b"1" * 32), LoginCookie(b"2" * 32)
    assert one.name != other.name
    assert other.read(one.make("k1")) is None


def test_a_cookie_that_was_changed_is_none(browser: Browser, make_key: MakeKey) -> None:
    browser.log_in(make_key("read"))
    ((name, value),) = browser.cookies.items()
    admin = id_of(make_key("admin"))
    key_id, at, signature = value.split(".")
    for changed in (
        f"{admin}.{at}.{signature}",
        f"{key_id}.{int(at) + 1}.{signature}",
        f"{key_id}.{at}.{signature[:-1]}",
        f"{key_id}.{at}.{'A' * 43}",
        f"{key_id}.{at}",
        "",
        "..",
        "\xff",
    ):
        browser.cookies = {name: changed}
        assert browser.get("/sessions").status == 303, changed
    browser.cookies = {name: value}
    assert browser.get("/sessions").status == 200


def test_a_login_ends_after_its_time() -> None:
    now = [time.time()]
    cookie = LoginCookie(b"s" * 32, clock=lambda: now[0])
    value = cookie.make("k1")
    for seconds, expected in ((0, "k1"), (LOGIN_SECONDS - 2, "k1"), (3, None), (-9e6, None)):
        now[0] += seconds
        assert cookie.read(value) == expected


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    cookie = LoginCookie(b"s" * 32)
    signature = cookie.sign("form", "k1.1")
    assert cookie.is_signed("form", "k1.1", signature)
    assert not cookie.is_signed("login", "k1.1", signature)
    assert cookie.read(f"k1.{int(time.time())}.{signature}") is None


# Out


def test_logging_out_forgets_the_login(browser: Browser, make_key: MakeKey) -> None:
    browser.log_in(make_key("read"))
    page = browser.page("/sessions")
    assert where(browser.submit(page, "/logout")) == "/login"
    assert browser.cookies == {}
    assert browser.get("/sessions").status == 303


def test_another_site_cannot_log_anybody_out(browser: Browser, make_key: MakeKey) -> None:
    browser.log_in(make_key("read"))
    page = browser.page("/sessions")
    for body in ("", "token=x", "token=" + "A" * 43):
        assert browser.request("POST", "/logout", body)[0].status == 403
    assert browser.get("/logout").status == 405
    assert browser.submit(page, "/logout", token="x").status == 403
    assert browser.get("/sessions").status == 200


def test_a_request_with_a_key_gets_no_logout_form(
    server: Wire, browser: Browser, make_key: MakeKey
) -> None:
    key = make_key("read")
    page = Document(server.with_key(key).get("/sessions").body.decode())
    assert page.all("form", "logout") == []
    browser.log_in(key)
    assert browser.page("/sessions").all("form", "logout") != []


# Headers


EVERYWHERE = (
    *("/healthz", "/login", "/sessions", "/sessions.json", "/session", "/api/v1/sessions"),
    *("/nothing", PATH, "/static/site.css", "/static/nothing", "/"),
)


@pytest.mark.parametrize("login", ["open", "none", "key", "cookie"])
def test_every_answer_carries_the_headers(
    server: Wire, browser: Browser, make_key: MakeKey, login: str
) -> None:
    if login != "open":
        key = make_key("admin")
        if login == "cookie":
            browser.log_in(key)
    given = {"Authorization": f"Bearer {key}"} if login == "key" else {}
    for path in EVERYWHERE:
        headers = browser.get(path, **given).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        policy = dict(
            p.strip().split(" ", 1) for p in headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
        if login != "open" and not path.startswith("/static/"):
            assert headers["cache-control"] == "no-store", path


def test_a_refusal_by_name_and_a_failure_carry_them_too(
    server: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sessionbat.server.store.sqlite.store import SqliteStore

    elsewhere = server.request("GET", "/sessions", headers={"Host": "evil.example"})
    monkeypatch.setattr(SqliteStore, "ask", lambda *_: 1 / 0)
    failure = server.get("/api/v1/sessions")
    assert (elsewhere.status, failure.status) == (421, 500)
    for answer in (elsewhere, failure):
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_the_form_asks_for_the_page_that_was_wanted_in_its_own_words(
    browser: Browser, make_key: MakeKey
) -> None:
    make_key("read")
    form = where(browser.get("/session?app=a%26b&id=x%23y"))
    assert parse_qs(urlsplit(form).query) == {"next": ["/session?app=a%26b&id=x%23y"]}


def test_the_empty_page_shows_where_the_key_goes_once_one_is_needed(
    browser: Browser, make_key: MakeKey
) -> None:
    assert "api_key" not in browser.page("/sessions").text
    browser.log_in(make_key("read"))
    (snippet,) = browser.page("/sessions").all("pre")
    assert 'api_key="sbat_ingest_...")\nturn =' in snippet.raw_text
    compile(snippet.raw_text, "snippet", "exec")
