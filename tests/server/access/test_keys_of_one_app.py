"""A key of one app: nothing of another is seen with it or written, by hand or with the SDK."""

from __future__ import annotations

import pytest

from sessionbat import SessionBat
from tests.server.access.kept_apart import (
    ITS_DAY,
    MakeKey,
    RevokeKey,
    refused,
    same,
    wait_until_searchable,
)
from tests.server.wire import Wire, event


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
