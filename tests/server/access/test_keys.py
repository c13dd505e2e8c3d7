"""Who may do what with which key, over HTTP; and that a key is nowhere but in its owner's hands."""

from __future__ import annotations

import ast
import asyncio
import hmac
import http.client
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionbat import SessionBat
from sessionbat.errors import ConfigurationError, StoreError
from sessionbat.server.access import keys as keys_module
from sessionbat.server.access import throttle
from sessionbat.server.access.keys import is_same, new_key
from sessionbat.server.app import create_app
from sessionbat.server.settings import Settings
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.conftest import eventually
from tests.server.wire import PATH, Answer, Wire, event

MakeKey = Callable[..., str]
RevokeKey = Callable[[str], None]

SESSION = {"app": "support-bot", "session_id": "thread_1"}
#: Every address that shows something, each with parameters that show it.
READING: list[tuple[str, dict[str, str]]] = [
    ("/api/v1/sessions", {}),
    ("/api/v1/session", SESSION),
    ("/api/v1/events", SESSION),
    ("/api/v1/search", {"q": "locked"}),
    ("/api/v1/statistics", {}),
    ("/sessions", {}),
    ("/sessions.json", {}),
    ("/session", {"app": "support-bot", "id": "thread_1"}),
    ("/session.json", {"app": "support-bot", "id": "thread_1"}),
    ("/", {}),
]
SHOWN = (200, 307)


@pytest.fixture
def stocked(server: Wire) -> Wire:
    """A server with a session of ``support-bot`` and one of ``other``; no key is made yet."""
    words = {"prompt": "I am locked out"}
    server.send(
        [
            event("e1", observation__input=words),
            event("e2", app="other", session_id="s2", tags=["secret"], observation__input=words),
        ]
    )
    return server


def refused(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.slug


# The first key


def test_without_any_key_everything_is_open(stocked: Wire) -> None:
    for path, parameters in READING:
        assert stocked.get(path, **parameters).status in SHOWN


def test_without_any_key_a_key_of_elsewhere_does_no_harm(server: Wire) -> None:
    assert server.with_key("sbat_ingest_of_the_hosted_service").send(event()).status == 202


def test_the_first_key_closes_a_running_server_at_once(stocked: Wire, make_key: MakeKey) -> None:
    make_key("read", "support-bot")
    assert refused(stocked.send(event("e3"))) == (401, "no-key")
    for path, parameters in READING:
        assert stocked.get(path, **parameters).status in (303, 401)
    assert stocked.get("/nothing").status == 401
    assert stocked.get("/healthz").status == 200


def test_every_route_there_is_needs_a_key_but_for_these(
    server: Wire, make_key: MakeKey, tmp_path: Path
) -> None:
    make_key("admin")
    open_to_all = set()
    for path in asyncio.run(paths_of(f"sqlite:///{tmp_path / 'store.db'}")):
        get, post = server.get(path), server.request("POST", path)
        if get.status not in (401, 303) or post.status != 401:
            open_to_all.add(path)
    assert open_to_all == {"/healthz", "/login", "/logout", "/static/{path:path}"}


def test_keys_that_are_all_revoked_leave_the_server_closed(
    stocked: Wire, make_key: MakeKey, revoke_key: RevokeKey, start_server: Callable[..., Wire]
) -> None:
    revoke_key(make_key("admin"))
    for server in (stocked, start_server()):  # the second one has seen no other state
        assert refused(server.get("/api/v1/sessions")) == (401, "no-key")
        assert refused(server.send(event("e3"))) == (401, "no-key")


def test_a_store_that_cannot_be_asked_opens_nothing(
    stocked: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: SqliteStore) -> bool:
        raise StoreError("the disk is gone", slug="store-failed")

    monkeypatch.setattr(SqliteStore, "has_keys", broken)
    answer = stocked.send(event("e3"))
    assert refused(answer) == (503, "store-failed")
    assert answer.headers["retry-after"] == "1"
    assert stocked.get("/api/v1/sessions").status == 503


# Kinds of keys


def test_an_ingest_key_writes(server: Wire, make_key: MakeKey) -> None:
    answer = server.with_key(make_key("ingest", "support-bot")).send(event())
    assert (answer.status, answer.json["accepted"]) == (202, 1)
    assert len(server.with_key(make_key("admin")).stored()) == 1


def test_an_ingest_key_cannot_read(stocked: Wire, make_key: MakeKey) -> None:
    server = stocked.with_key(make_key("ingest", "support-bot"))
    for path, parameters in [*READING, ("/nothing", {})]:
        answer = server.get(path, **parameters)
        assert refused(answer) == (403, "not-allowed")
        assert "insufficient_scope" in answer.headers["www-authenticate"]
        assert b"locked" not in answer.body


@pytest.mark.parametrize("app", ["support-bot", None])
def test_a_read_key_cannot_write(stocked: Wire, make_key: MakeKey, app: str | None) -> None:
    server = stocked.with_key(make_key("read", app))
    assert refused(server.send(event("e3"))) == (403, "not-allowed")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert refused(server.request(method, "/api/v1/sessions")) == (403, "not-allowed")
    assert [each["id"] for each in server.stored()] == ["e1"]


@pytest.mark.parametrize("kind", ["read", "admin"])
def test_a_key_for_every_app_reads_all(stocked: Wire, make_key: MakeKey, kind: str) -> None:
    server = stocked.with_key(make_key(kind))
    for path, parameters in READING:
        assert server.get(path, **parameters).status in SHOWN
    assert server.get("/sessions.json").json["apps"] == ["other", "support-bot"]
    assert server.get("/nothing").status == 404


def test_an_admin_key_writes_to_any_app(server: Wire, make_key: MakeKey) -> None:
    admin = server.with_key(make_key("admin"))
    answer = admin.send([event("e1"), event("e2", app="other")])
    assert (answer.json["accepted"], answer.json["rejected"]) == (2, [])
    assert admin.send(event("e3", app=None)).slug == "bad-event"


def test_what_is_not_made_for_one_app_is_not_shown_to_a_key_of_one(
    stocked: Wire, make_key: MakeKey
) -> None:
    server = stocked.with_key(make_key("read", "support-bot"))
    assert refused(server.get("/a-route-of-a-later-version")) == (403, "not-allowed")


# One app


def test_a_read_key_of_one_app_sees_nothing_of_another(stocked: Wire, make_key: MakeKey) -> None:
    mine, others = (stocked.with_key(make_key("read", a)) for a in ("support-bot", "other"))
    admin = stocked.with_key(make_key("admin"))
    wait_until_searchable(admin, 2)
    for server, app, session_id in ((mine, "support-bot", "thread_1"), (others, "other", "s2")):
        (session,) = server.get("/api/v1/sessions").json["items"]
        assert (session["app"], session["session_id"]) == (app, session_id)
        assert [hit["app"] for hit in server.get("/api/v1/search", q="locked").json["items"]] == [
            app
        ]
        (day,) = server.get("/api/v1/statistics", **ITS_DAY).json["items"]
        assert day["count"] == 1
        grouped = server.get("/api/v1/statistics", **ITS_DAY, group="app").json["items"]
        assert [item["group"] for item in grouped] == [app]
        twin = server.get("/sessions.json").json
        assert (twin["apps"], [item["app"] for item in twin["items"]]) == ([app], [app])
    page = mine.get("/sessions").body.decode()
    assert "thread_1" in page
    assert "other" not in page.replace("other key", "")
    assert "s2" not in page


def test_another_app_answers_like_one_that_was_never_heard_of(
    stocked: Wire, make_key: MakeKey
) -> None:
    server = stocked.with_key(make_key("read", "support-bot"))
    wait_until_searchable(stocked.with_key(make_key("admin")), 2)
    of_session = {"session_id": "s2", "id": "s2", "event": "e2"}
    for path, parameters in [
        ("/api/v1/sessions", {"tag": "secret"}),
        ("/api/v1/session", of_session),
        ("/api/v1/events", of_session),
        ("/api/v1/search", {"q": "locked"}),
        ("/api/v1/statistics", ITS_DAY),
        ("/api/v1/statistics", {**ITS_DAY, "group": "app"}),
        ("/sessions", {}),
        ("/sessions.json", {}),
        ("/session", of_session),
        ("/session.json", of_session),
    ]:
        theirs, nobodys = (server.get(path, app=app, **parameters) for app in ("other", "nooby"))
        assert theirs.status == nobodys.status
        assert same(theirs) == same(nobodys).replace(b"nooby", b"other")
    # without the app's name, a filter for what only the other app has finds nothing
    assert server.get("/api/v1/sessions", tag="secret").json["items"] == []


def test_a_cursor_of_an_admin_leads_a_read_key_to_its_own_app_only(
    stocked: Wire, make_key: MakeKey
) -> None:
    stocked.send([event(f"n{n}", app="other", session_id=f"n{n}") for n in range(5)])
    admin = stocked.with_key(make_key("admin"))
    server = stocked.with_key(make_key("read", "support-bot"))
    after = admin.get("/api/v1/sessions", limit=1).json["next"]
    items = server.get("/api/v1/sessions", after=after).json["items"]
    assert {item["app"] for item in items} <= {"support-bot"}


def test_an_event_of_another_app_is_rejected_and_its_neighbours_are_stored(
    server: Wire, make_key: MakeKey
) -> None:
    answer = server.with_key(make_key("ingest", "support-bot")).send_lines(
        event("e1"), event("e2", app="other"), event("e3")
    )
    assert answer.status == 202
    assert answer.json["accepted"] == 2
    (rejected,) = answer.json["rejected"]
    assert (rejected["id"], rejected["slug"]) == ("e2", "wrong-app")
    assert rejected["at"] == "events[1].app"
    admin = server.with_key(make_key("admin"))
    assert [each["id"] for each in admin.stored()] == ["e1", "e3"]
    assert admin.get("/sessions.json").json["apps"] == ["support-bot"]


def test_a_lone_event_of_another_app_is_answered_422(server: Wire, make_key: MakeKey) -> None:
    server = server.with_key(make_key("ingest", "support-bot"))
    assert refused(server.send(event(app="other"))) == (422, "wrong-app")


@pytest.mark.parametrize("app", ["support-bot", 'a "b" \\ Grüße 🦇'])
def test_an_event_without_an_app_is_the_keys(server: Wire, make_key: MakeKey, app: str) -> None:
    without = {name: value for name, value in event("e1").items() if name != "app"}
    raw = b' { "session_id":"thread_1", "type" : "llm","id":"e2","observation":{"kind":"llm"}, '
    raw += b'"big": 123456789012345678901 }'
    writer = server.with_key(make_key("ingest", app))
    assert writer.send([without]).json["accepted"] == 1
    assert writer.send(raw).json["accepted"] == 1
    first, second = server.with_key(make_key("admin")).stored(app=app)
    assert first == {"app": app, **without}
    assert second["app"] == app
    reader = server.with_key(make_key("read", app))
    stored = reader.get("/api/v1/events", app=app, session_id="thread_1").body
    assert raw.strip()[1:] in stored  # what was received is there, byte for byte


def test_events_of_two_keys_in_one_commit_keep_their_apps(server: Wire, make_key: MakeKey) -> None:
    without = {name: value for name, value in event("e1").items() if name != "app"}
    for app in ("a", "b"):
        assert server.with_key(make_key("ingest", app)).send([without]).json["accepted"] == 1
    admin = server.with_key(make_key("admin"))
    for app in ("a", "b"):
        assert [each["app"] for each in admin.stored(app=app)] == [app]


# What the SDK makes of it


def test_the_sdk_delivers_with_its_key_and_counts_what_is_of_another_app(
    server: Wire, make_key: MakeKey
) -> None:
    key = make_key("ingest", "support-bot")
    for app, delivered, dropped in (
        ("support-bot", 3, {}),
        ("other", 0, {"refused:wrong-app": 3}),
    ):
        client = SessionBat(app=app, endpoint=server.url, api_key=key)
        for _ in range(3):
            client.session().interaction().llm(model="m", input="i", output="o")
        client.flush()
        stats = client.stats()
        assert (stats.delivered, dict(stats.dropped)) == (delivered, dropped)
        client.close()


@pytest.mark.parametrize("kind", ["none", "revoked", "read"])
def test_the_sdk_keeps_what_its_key_may_not_write(
    server: Wire, make_key: MakeKey, revoke_key: RevokeKey, kind: str
) -> None:
    key = make_key("read" if kind == "read" else "ingest", "support-bot")
    if kind == "revoked":
        revoke_key(key)
    client = SessionBat(
        app="support-bot", endpoint=server.url, api_key="" if kind == "none" else key
    )
    client.session().interaction().llm(model="m", input="i", output="o")
    client.flush(timeout=0.5)
    stats = client.stats()
    assert (stats.pending + stats.spooled, dict(stats.dropped)) == (1, {})
    client.close(timeout=0)


# Wrong keys


@pytest.mark.parametrize("kind", ["ingest", "read", "admin"])
def test_a_revoked_key_is_refused_at_once(
    stocked: Wire, make_key: MakeKey, revoke_key: RevokeKey, kind: str
) -> None:
    key = make_key(kind, None if kind == "admin" else "support-bot")
    server = stocked.with_key(key)

    def status() -> int:
        if kind == "ingest":
            return server.send(event("e3")).status
        return server.get("/api/v1/sessions").status

    assert status() in (200, 202)
    revoke_key(key)
    assert status() == 401


def test_any_change_to_a_key_makes_it_a_wrong_one(server: Wire, make_key: MakeKey) -> None:
    key = make_key("read", "support-bot")
    other = make_key("ingest", "support-bot")
    swapped = key[:-1] + ("a" if key[-1] != "a" else "b")
    wrong = [swapped, key[:-1], key + "a", key.upper(), key.replace("read", "admin"), "", "sbat_"]
    wrong += [other[:20] + key[-32:], f"sbat_read_{other[12:20]}{key[-32:]}", "\xff" * 50]
    for each in wrong[: throttle.ALLOWANCE]:
        answer = server.request(
            "GET", "/api/v1/sessions", headers={"Authorization": f"Bearer {each}"}
        )
        assert refused(answer) == (401, "bad-key"), each
        assert "invalid_token" in answer.headers["www-authenticate"]
    assert server.with_key(key).get("/api/v1/sessions").status == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [("Bearer {}", 200), ("bearer  {} ", 200), ("Basic {}", 401), ("{}", 401), ("Bearer", 401)],
)
def test_a_key_comes_as_a_bearer_token(
    server: Wire, make_key: MakeKey, header: str, status: int
) -> None:
    headers = {"Authorization": header.format(make_key("admin"))}
    assert server.request("GET", "/api/v1/sessions", headers=headers).status == status


def test_two_keys_in_one_request_are_none(server: Wire, make_key: MakeKey) -> None:
    key = make_key("admin")
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    connection.putrequest("GET", "/api/v1/sessions")
    for each in (key, key):
        connection.putheader("Authorization", f"Bearer {each}")
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


def test_a_key_in_the_address_counts_for_nothing(server: Wire, make_key: MakeKey) -> None:
    key = make_key("admin")
    assert server.get("/api/v1/sessions", key=key, api_key=key, token=key).status == 401


def test_too_many_wrong_keys_are_told_to_wait_while_a_right_one_is_served(
    server: Wire, make_key: MakeKey
) -> None:
    right, wrong = server.with_key(make_key("admin")), server.with_key("sbat_ingest_wrong")
    answers = [wrong.send(event()) for _ in range(throttle.ALLOWANCE + 5)]
    assert {refused(a) for a in answers[: throttle.ALLOWANCE]} == {(401, "bad-key")}
    assert refused(answers[-1]) == (429, "too-many-bad-keys")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert right.send(event()).status == 202


def test_a_flood_of_wrong_keys_does_not_hold_up_a_right_one(
    server: Wire, make_key: MakeKey
) -> None:
    right, wrong = server.with_key(make_key("admin")), server.with_key("sbat_ingest_wrong")
    floods = [
        threading.Thread(target=lambda: [wrong.send(event()) for _ in range(200)]) for _ in range(2)
    ]
    for flood in floods:
        flood.start()
    seconds = []
    for n in range(20):
        started = time.monotonic()
        assert right.send(event(f"e{n}")).status == 202
        seconds.append(time.monotonic() - started)
    for flood in floods:
        flood.join()
    assert max(seconds) < 5  # some milliseconds; bench/keys.py measures


# What a key is


def test_keys_are_told_apart_by_their_kind_and_never_the_same() -> None:
    made = [new_key("ingest", "a", "")[0] for _ in range(100)]
    assert len(set(made)) == 100
    assert all(key.startswith("sbat_ingest_") and len(key) == 52 for key in made)
    assert new_key("read", None, "")[0].startswith("sbat_read_")
    assert new_key("admin", None, "")[0].startswith("sbat_admin_")


def test_what_is_stored_of_a_key_does_not_tell_the_key() -> None:
    key, stored = new_key("read", "a", "name")
    assert stored.id in key
    assert key[-32:] not in repr(stored)
    assert key[-32:].encode() not in stored.digest
    assert stored.digest.hex() not in repr(stored)


@pytest.mark.parametrize(
    ("kind", "app", "name", "slug"),
    [
        ("ingest", None, "", "key-app"),
        ("admin", "a", "", "key-app"),
        ("read", "", "", "key-app"),
        ("read", "a\nb", "", "key-app"),
        ("read", "\udc80", "", "key-app"),
        ("read", None, "a\x1b[2J", "key-name"),
    ],
)
def test_a_key_that_would_be_of_no_use_is_not_made(
    kind: Any, app: str | None, name: str, slug: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"\[{slug}\]"):
        new_key(kind, app, name)


def test_the_comparison_is_timing_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests are compared by ``hmac.compare_digest``, and secrets by nothing else."""
    key, stored = new_key("read", "a", "")
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, two: bytes) -> bool:
        compared.append((one, two))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert not is_same(key, stored)  # the answer is that of the safe comparison, whatever it says
    assert [two for _, two in compared] == [stored.digest]
    for name in ("keys", "login_cookie", "permissions", "login"):
        source = Path(keys_module.__file__).with_name(f"{name}.py").read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Compare) and any(
                isinstance(op, ast.Eq | ast.NotEq) for op in node.ops
            ):
                text = ast.unparse(node)
                assert not any(word in text for word in ("digest", "sign", "token", "secret")), text


# Where a key must not be


def test_no_key_is_in_the_store_or_the_log(
    server: Wire,
    make_key: MakeKey,
    revoke_key: RevokeKey,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    keys = [make_key("ingest", "support-bot"), make_key("read", "support-bot"), make_key("admin")]
    stranger = new_key("admin", None, "")[0]
    for key in [*keys, stranger]:
        wire = server.with_key(key)
        wire.send(event(app="wrong"))
        wire.send(b"{")
        wire.get("/api/v1/sessions", limit="none")
        wire.get("/api/v1/session", app=key)  # as somebody may type it
        wire.get("/" + key)
    revoke_key(keys[0])
    for _ in range(throttle.ALLOWANCE + 3):
        server.with_key(keys[0]).send(event())
    assert "[bad-key]" in caplog.text
    out, err = capfd.readouterr()
    said = caplog.text + out + err + "".join(str(vars(record)) for record in caplog.records)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for key in [*keys, stranger]:
        secret = key[-32:]
        assert secret not in said
        assert secret.encode() not in files


def test_the_log_tells_of_wrong_keys_once_and_from_where(
    server: Wire, make_key: MakeKey, caplog: pytest.LogCaptureFixture
) -> None:
    make_key("admin")
    for _ in range(5):
        server.with_key("sbat_admin_wrong").get("/api/v1/sessions")
    (line,) = [r.getMessage() for r in caplog.records if "[bad-key]" in r.getMessage()]
    assert "127.0.0.1" in line


def test_no_answer_repeats_a_key(server: Wire, make_key: MakeKey) -> None:
    key = make_key("ingest", "support-bot")
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    for each in (key, wrong):
        for path in (PATH, "/sessions", "/api/v1/sessions"):
            answer = server.with_key(each).get(path)
            assert each[-31:] not in f"{answer.headers}{answer.body!r}"


async def paths_of(store_url: str) -> list[str]:
    app = create_app(Settings(store_url=store_url))
    async with app.router.lifespan_context(app):  # which closes the store
        return [str(getattr(route, "path", "")) for route in app.routes]


ITS_DAY = {"from": "2026-11-22T00:00:00Z", "to": "2026-11-23T00:00:00Z", "by": "day"}


def wait_until_searchable(server: Wire, events: int) -> None:
    eventually(
        lambda: (
            len(server.get("/api/v1/search", q="locked").json["items"]) == events
            and sum(i["count"] for i in server.get("/api/v1/statistics", **ITS_DAY).json["items"])
            == events
        )
    )


def same(answer: Answer) -> bytes:
    """What two answers to one question share: not the second at which a page was made."""
    return b"\n".join(line for line in answer.body.split(b"\n") if b"As of " not in line)
