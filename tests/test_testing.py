"""What ``sessionbat.testing`` offers to users' suites, and that it keeps out of everything else."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sessionbat import SessionBat
from sessionbat.testing import (
    Answer,
    Endpoint,
    Recording,
    Request,
    receipt,
    single_events_only,
    unused_port,
)

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {"PYTHONPATH": str(ROOT / "src")}


@pytest.fixture
def recording() -> Recording:
    recording = Recording()
    session = recording.client.session(session_id="s1")
    first = session.interaction(interaction_id="i1")
    first.retrieval(query="q")
    first.tool_call(tool_name="lookup_account")
    first.llm(model="m", output="first")
    second = session.interaction(interaction_id="i2")
    second.tool_call(tool_name="unlock_account")
    recording.client.session(session_id="s2").interaction().llm(model="m", output="second")
    return recording


def test_events_are_found_by_everything_that_is_given(recording: Recording) -> None:
    assert len(recording.events()) == 5
    assert len(recording.events(kind="llm")) == 2
    assert len(recording.events(kind="llm", session_id="s1")) == 1
    assert len(recording.events(interaction_id="i1")) == 3
    [event] = recording.events(name="unlock_account")
    assert event["interaction_id"] == "i2"
    assert recording.events(kind="llm", name="unlock_account") == []


def test_the_only_one_is_found(recording: Recording) -> None:
    assert recording.only(kind="llm", session_id="s2")["observation"]["output"] == "second"


def test_none_and_several_are_told_with_what_there_is(recording: Recording) -> None:
    with pytest.raises(AssertionError, match="expected one event kind='tool', found 2 of:") as many:
        recording.only(kind="tool")
    assert "  tool lookup_account (session s1)" in str(many.value)
    with pytest.raises(AssertionError, match="name='nothing', found 0 of:"):
        recording.only(name="nothing")
    with pytest.raises(AssertionError, match="nothing was recorded"):
        Recording().only()


def test_steps_read_as_what_was_done(recording: Recording) -> None:
    assert recording.steps(session_id="s1") == [
        "retrieval",
        "tool lookup_account",
        "llm",
        "tool unlock_account",
    ]
    assert recording.steps()[-1] == "llm"


def test_steps_are_required_in_their_order(recording: Recording) -> None:
    recording.assert_recorded()
    recording.assert_recorded("retrieval", "llm", "tool unlock_account")
    recording.assert_recorded("llm", "llm")
    with pytest.raises(AssertionError, match="no 'retrieval' after 'llm' in:\n  retrieval"):
        recording.assert_recorded("llm", "retrieval")
    with pytest.raises(AssertionError, match="no 'llm' after 'llm' in:"):
        recording.assert_recorded("llm", "llm", session_id="s1")
    with pytest.raises(AssertionError, match="no 'tool' in:"):
        recording.assert_recorded("tool")


def test_a_recording_begins_again(recording: Recording) -> None:
    recording.clear()
    assert recording.events() == []


def test_options_are_the_clients() -> None:
    recording = Recording(app="mine", mask=["password"], default_tags=["t"])
    recording.client.session().interaction().llm(input={"password": 1})
    event = recording.only()
    assert (event["app"], event["tags"]) == ("mine", ["t"])
    assert event["observation"]["input"] == {"password": "[masked]"}


def test_a_block_closes_the_client_and_keeps_what_was_recorded() -> None:
    with Recording() as recording:
        recording.client.session().interaction().llm()
    recording.client.session().interaction().llm()
    assert len(recording.events()) == 1
    assert recording.client.stats().dropped == {"closed": 1}


def run_suite(directory: Path, test: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a suite of a user's, with nothing but our package and pytest."""
    (directory / "conftest.py").write_text('pytest_plugins = ["sessionbat.testing"]\n')
    (directory / "test_it.py").write_text(textwrap.dedent(test))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(directory)]
    command += ["-p", "no:langsmith_plugin", "-p", "no:schemathesis", "-p", "no:hypothesispytest"]
    return subprocess.run(
        command,
        env={**ENVIRONMENT, **environment},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.slow
def test_the_fixtures_come_with_one_line_even_where_recording_is_off(tmp_path: Path) -> None:
    done = run_suite(
        tmp_path,
        """
        from sessionbat import SessionBat

        def test_one(recording):
            recording.client.session().interaction().llm()
            assert recording.steps() == ["llm"]

        def test_each_has_its_own(recording):
            assert recording.steps() == []

        def test_two(ingestion_endpoint, monkeypatch):
            monkeypatch.delenv("SESSIONBAT_ENABLED")
            with SessionBat(endpoint=ingestion_endpoint.url, spool=False) as client:
                event_id = client.session().interaction().llm()
            assert ingestion_endpoint.acknowledged == [event_id]
        """,
        SESSIONBAT_ENABLED="0",
    )
    assert "3 passed" in done.stdout, done.stdout


@pytest.mark.slow
def test_a_failed_question_shows_what_was_recorded(tmp_path: Path) -> None:
    done = run_suite(
        tmp_path,
        """
        def test_one(recording):
            recording.client.session(session_id="s").interaction().tool_call(tool_name="search")
            recording.assert_recorded("tool lookup")
        """,
    )
    assert "1 failed" in done.stdout
    assert "no 'tool lookup' in:" in done.stdout
    assert "tool search (session s)" in done.stdout


@pytest.mark.parametrize("module", ["sessionbat", "sessionbat.testing"])
def test_importing_never_loads_pytest(module: str) -> None:
    script = f"import sys, {module}; print('pytest' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"


def test_the_endpoint_works_without_zstandard() -> None:
    script = (
        "import sys; sys.modules['zstandard'] = None\n"
        "from sessionbat import SessionBat\n"
        "from sessionbat.testing import Endpoint, OFFERS_BATCHES\n"
        "with Endpoint() as endpoint, SessionBat(endpoint=endpoint.url, spool=False) as client:\n"
        "    interaction = client.session().interaction()\n"
        "    ids = [interaction.llm(input='x') for _ in range(50)]\n"
        "    assert client.flush()\n"
        "    assert sorted(endpoint.acknowledged) == sorted(ids)\n"
        "    print(OFFERS_BATCHES['Accept-Encoding'],"
        " {r.headers.get('content-encoding') for r in endpoint.requests if r.is_batch})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("gzip {'gzip'}", "")


def test_every_fault_of_the_endpoint_is_survived() -> None:
    faults = [
        Answer(503),
        Answer(reset=True),
        Answer(200, delay_s=0.05),
        Answer(202, byte_delay_s=0.001, close=True),
    ]
    with Endpoint(lambda request: faults[min(request.number, 3)]) as endpoint:
        client = SessionBat(endpoint=endpoint.url, spool=False)
        ids = [client.session().interaction().llm() for _ in range(4)]
        assert client.flush(timeout=20)
        client.close()
    assert sorted(endpoint.acknowledged) == sorted(ids)
    assert endpoint.malformed == []


def test_an_endpoint_that_hangs_can_be_released() -> None:
    with Endpoint(lambda request: Answer(hang=True)) as endpoint:
        client = SessionBat(endpoint=endpoint.url, spool=False)
        client.session().interaction().llm()
        assert not client.flush(timeout=0.2)
        endpoint.behave = receipt
        endpoint.release()
        assert client.flush(timeout=5)
        client.close()


def test_a_body_that_is_cut_off_is_no_request_of_the_endpoint() -> None:
    with Endpoint() as endpoint:
        host, port = endpoint.url.split("/")[2].split(":")
        head = b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n"
        with socket.create_connection((host, int(port))) as killed:
            killed.sendall(head + b'{"id"')
            killed.shutdown(socket.SHUT_WR)
            assert killed.recv(1) == b""
        assert endpoint.requests == endpoint.malformed == []


def test_an_endpoint_of_single_events_refuses_anything_else() -> None:
    def status(content_type: str, body: bytes, **headers: str) -> int:
        return single_events_only(
            Request(0, "/", {"content-type": content_type, **headers}, body)
        ).status

    assert status("application/json", b'{"id": "1"}') == 202
    assert status("application/json", b'[{"id": "1"}]') == 400
    assert status("application/x-ndjson", b'{"id": "1"}') == 400
    assert status("application/json", b"{}", **{"content-encoding": "gzip"}) == 400


def test_nobody_listens_on_an_unused_port() -> None:
    client = SessionBat(endpoint=f"http://127.0.0.1:{unused_port()}", spool=False)
    client.session().interaction().llm()
    assert not client.flush(timeout=0.1)
    client.close(timeout=0)


def test_everything_public_is_explained() -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    import sessionbat.testing

    unexplained = {"Behaviour", "OFFERS_BATCHES", "Request"}
    words = set(re.findall(r"\w+", page))
    assert set(sessionbat.testing.__all__) - unexplained <= words
    assert {"recording", "ingestion_endpoint"} <= words
    methods = {name for name in vars(Recording) if not name.startswith("_")}
    assert methods <= words
