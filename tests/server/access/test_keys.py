"""Who may do what with which key, over HTTP; and that a key is nowhere but in its owner's hands."""

from __future__ import annotations

import ast
import asyncio
import hmac
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionbat.errors import ConfigurationError, StoreError
from sessionbat.server.access import keys as keys_module
from sessionbat.server.access import throttle
from sessionbat.server.access.keys import is_same, new_key
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.server.access.kept_apart import READING, SHOWN, MakeKey, RevokeKey, paths_of, refused
from tests.server.wire import PATH, Wire, event


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


def test_an_unknown_route_is_closed_to_a_key_of_one_app(stocked: Wire, make_key: MakeKey) -> None:
    server = stocked.with_key(make_key("read", "support-bot"))
    assert refused(server.get("/a-route-of-a-later-version")) == (403, "not-allowed")


def test_keys_are_told_apart_by_their_kind_and_never_the_same() -> None:
    made = [new_key("ingest", "a", "")[0] for _ in range(100)]
    assert len(set(made)) == 100
    assert all(key.startswith("sbat_ingest_") and len(key) == 52 for key in made)
    assert new_key("read", None, "")[0].startswith("sbat_read_")
    assert new_key("admin", None, "")[0].startswith("sbat_admin_")


def test_the_stored_record_of_a_key_does_not_reveal_it() -> None:
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
