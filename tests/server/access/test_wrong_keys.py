"""Keys that are wrong, revoked or sent in the wrong way."""

from __future__ import annotations

import http.client
import threading
import time

import pytest

from sessionbat.server.access import throttle
from tests.server.access.kept_apart import MakeKey, RevokeKey, refused
from tests.server.wire import Wire, event


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
