"""What a mask removes before an event may leave the process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from sessionbat import ConfigurationError, SessionBat
from sessionbat.testing import Endpoint, unused_port
from sessionbat.transports import MemoryTransport
from tests.masking.recorded import EMAIL, SECRET, asynchronous, masked, masked_input, record

SOURCE = Path(__file__).parent.parent.parent / "src"


class TestKeyNames:
    def test_the_value_is_replaced_whole_at_any_depth(self) -> None:
        value = {"user": [{"password": {"old": 1, "new": [2]}}], "plan": "free"}
        assert masked_input(["password"], value) == {
            "user": [{"password": "[masked]"}],
            "plan": "free",
        }

    @pytest.mark.parametrize(
        "key",
        ["api_key", "API_KEY", "apiKey", "ApiKey", "api-key", "apikey", "x-api-key", "userApiKey",
         "OPENAI_API_KEY", "APIKey", "api key", "api_key_2", "my.api.key"],
    )  # fmt: skip
    def test_a_name_is_found_in_every_way_to_write_it(self, key: str) -> None:
        assert masked_input(["api_key"], {key: "k"}) == {key: "[masked]"}
        assert masked_input(["apiKey"], {key: "k"}) == {key: "[masked]"}

    @pytest.mark.parametrize("key", ["tokens", "input_tokens", "tokenizer", "stoken"])
    def test_a_name_is_whole_words_only(self, key: str) -> None:
        assert masked_input(["token"], {key: 7}) == {key: 7}

    def test_a_name_reaches_metadata_context_and_error(self) -> None:
        memory = MemoryTransport()
        client = SessionBat(transport=memory, mask=["secret"], default_context={"secret": 1})
        session = client.session(context={"deep": {"secret": 2}})
        session.interaction(context={"Secret": 3}).llm(
            metadata={"secret": 4}, error={"type": "E", "secret": 5}, context={"my_secret": 6}
        )
        [event] = memory.events
        assert event["context"] == {
            "secret": "[masked]",
            "deep": {"secret": "[masked]"},
            "Secret": "[masked]",
            "my_secret": "[masked]",
        }
        assert event["observation"]["metadata"] == {"secret": "[masked]"}
        assert event["observation"]["error"] == {"type": "E", "secret": "[masked]"}

    def test_a_name_is_found_in_text_that_is_json(self) -> None:
        arguments = ' {"city": "Oslo", "auth": {"password": "p"}}'
        [call] = masked_input(["password"], [{"arguments": arguments}])
        assert json.loads(call["arguments"]) == {"city": "Oslo", "auth": {"password": "[masked]"}}

    def test_json_text_without_the_name_stays_letter_for_letter(self) -> None:
        text = '{ "city" :  "Oslo" }'
        assert masked_input(["password"], text) == text

    @pytest.mark.parametrize("text", ["{", "{not json}", "[1, 2", "[" * 5000, "\ud800{", "{}x"])
    def test_text_that_only_looks_like_json_is_left_alone(self, text: str) -> None:
        client, [event] = record(["password"], input=text)
        assert client.stats().mended == {}
        assert event["observation"]["input"] == text.replace("\ud800", "�")

    def test_json_in_json_in_text_is_found(self) -> None:
        inner = json.dumps({"password": "hunter2"})
        outer = json.dumps({"body": inner})
        assert "hunter2" not in masked_input(["password"], outer)

    @pytest.mark.parametrize("name", ["input", "output"])
    def test_a_whole_payload_can_be_named(self, name: str) -> None:
        event = masked([name], **{name: {"text": "private"}})
        assert event["observation"][name] == "[masked]"

    def test_named_fields_of_a_fixed_form_keep_their_form(self) -> None:
        memory = MemoryTransport()
        client = SessionBat(transport=memory, mask=["context", "metadata", "tags", "error"])
        client.session(context={"a": 1}, tags=["t"]).interaction().llm(
            metadata={"b": 2}, error="private"
        )
        [event] = memory.events
        assert (event["context"], event["tags"]) == ({}, [])
        assert event["observation"]["metadata"] == {}
        assert event["observation"]["error"] == {"type": "Error", "message": "[masked]"}

    def test_metrics_are_numbers_and_stay(self) -> None:
        event = masked(["token", "latency"], metrics={"token": 3, "latency_ms": 4.5})
        assert event["observation"]["metrics"] == {"token": 3, "latency_ms": 4.5}

    def test_fields_of_objects_have_names_too(self) -> None:
        from dataclasses import dataclass

        @dataclass
        class Account:
            name: str
            password: str

        value = masked_input(["password"], Account("Ada", "hunter2"))
        assert value == {"name": "Ada", "password": "[masked]"}


class TestPatterns:
    def test_a_find_is_replaced_inside_any_text(self) -> None:
        value = {"messages": [{"content": f"Write to {SECRET}, or {SECRET}!"}], "n": 1}
        assert masked_input([EMAIL], value) == {
            "messages": [{"content": "Write to [masked], or [masked]!"}],
            "n": 1,
        }

    def test_no_text_of_an_event_is_left_out(self) -> None:
        memory = MemoryTransport()
        client = SessionBat(
            transport=memory,
            mask=[EMAIL],
            default_tags=[SECRET],
            default_context={SECRET: SECRET},
        )
        session = client.session(tags=[f"a {SECRET}"], context={"b": [SECRET]})
        interaction = session.interaction(tags=[f"c {SECRET}"], context={"d": SECRET})
        everything: dict[str, Any] = {
            "metadata": {SECRET: SECRET},
            "tags": [f"e {SECRET}"],
            "context": {"f": SECRET},
            "started_at": f"when {SECRET} called",
        }
        for error in (ValueError(f"no {SECRET}"), SECRET, {"message": SECRET, "type": SECRET}):
            interaction.llm(model=SECRET, name=SECRET, input=SECRET, output=SECRET, error=error)
            interaction.tool_call(tool_name=SECRET, input={SECRET: 1}, error=error, **everything)
            interaction.retrieval(query=SECRET, documents=[{"content": SECRET}], **everything)
        events = memory.events
        assert len(events) == 9
        assert SECRET not in json.dumps(events)

    def test_keys_that_become_alike_stay_apart(self) -> None:
        assert masked_input([EMAIL], {"a@b.c": 1, "d@e.f": 2, "g@h.i": 3}) == {
            "[masked]": 1,
            "[masked]#2": 2,
            "[masked]#3": 3,
        }

    def test_bytes_are_searched_before_they_are_hidden_in_base64(self) -> None:
        value = masked_input([EMAIL], {"body": f"From {SECRET}".encode(), "other": b"plain"})
        assert value["body"]["base64"] == "[masked]"
        assert value["other"]["base64"] == "cGxhaW4="

    def test_something_that_only_looks_like_our_bytes_is_left_alone(self) -> None:
        value = {"type": "bytes", "base64": "no base64"}
        assert masked_input([EMAIL], value) == value

    def test_escapes_in_json_text_hide_nothing(self) -> None:
        text = json.dumps({"to": "ada\u0040example.com"}).replace("@", "\\u0040")
        assert "example" not in masked_input([EMAIL], text)

    def test_names_and_patterns_work_together(self) -> None:
        value = masked_input(["password", EMAIL], {"password": 1, "text": SECRET})
        assert value == {"password": "[masked]", "text": "[masked]"}

    def test_a_cut_leaves_no_half_of_a_find(self) -> None:
        text = "x" * (16 * 1024 * 1024 - 5) + " " + SECRET + "y" * 1000
        value = masked_input([re.compile("x+"), EMAIL], text)
        assert "ada" not in value

    @pytest.mark.timeout(20)
    def test_long_json_text_is_not_sent_unsearched(self) -> None:
        text = json.dumps({"filler": "x" * (17 * 1024 * 1024), "password": "hunter2"})
        assert masked_input(["password"], text) == "[masked]"


class TestMeasurements:
    def test_what_was_taken_at_entry_is_masked(self) -> None:
        memory = MemoryTransport()
        interaction = SessionBat(transport=memory, mask=["password", EMAIL]).session().interaction()
        question = {"password": "p", "text": SECRET}
        with (
            pytest.raises(ValueError, match="ada"),
            interaction.measure_llm(model="m", input=question) as call,
        ):
            question["text"] = "changed afterwards"
            call.output = SECRET
            raise ValueError(SECRET)
        [event] = memory.events
        assert event["observation"]["input"] == {"password": "[masked]", "text": "[masked]"}
        assert event["observation"]["output"] == "[masked]"
        assert event["observation"]["error"] == {"type": "ValueError", "message": "[masked]"}

    def test_what_was_taken_at_entry_is_masked_before_it_is_cut(self) -> None:
        memory = MemoryTransport()
        client = SessionBat(transport=memory, mask=[re.compile("secret=[0-9]{40};")])
        long = f"secret={'1' * 40};" * 24_000
        with client.session().interaction().measure_llm(input=long):
            pass
        assert "secret" not in memory.events[0]["observation"]["input"]

    def test_a_snapshot_is_masked(self) -> None:
        from sessionbat._encoding import Snapshot

        assert masked_input(["password", EMAIL], Snapshot({"password": 1, "t": SECRET})) == {
            "password": "[masked]",
            "t": "[masked]",
        }

    def test_a_snapshot_that_was_cut_still_says_so(self) -> None:
        from sessionbat._encoding import Snapshot

        observation = masked(["password"], input=Snapshot("x" * 2_000_000))["observation"]
        assert observation["truncated"]["original_bytes"] >= 2_000_000


class TestConstruction:
    @pytest.mark.parametrize(
        "mask",
        [[1], [b"password"], [re.compile(b"x")], [re.compile("x*")], [""], ["--"], 7, [None]],
    )
    def test_a_mask_that_can_never_work_is_refused(self, mask: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"\[bad-mask\]"):
            SessionBat(transport=MemoryTransport(), mask=mask)

    def test_a_coroutine_function_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"'asynchronous'.*\[bad-mask\]"):
            SessionBat(transport=MemoryTransport(), mask=asynchronous)  # type: ignore[arg-type]

    def test_one_name_or_pattern_may_stand_alone(self) -> None:
        assert masked_input("password", {"p": 1, "password": 2})["password"] == "[masked]"
        assert masked_input(EMAIL, SECRET) == "[masked]"

    def test_any_iterable_will_do(self) -> None:
        assert masked_input({"password"}, {"password": 2}) == {"password": "[masked]"}
        assert masked_input((n for n in ["password"]), {"password": 2}) == {"password": "[masked]"}


@pytest.mark.slow
def test_nothing_unmasked_is_on_disk_or_on_the_wire(tmp_path: Path) -> None:
    """A process that masks ends while its endpoint is down; the next one delivers for it."""
    script = textwrap.dedent(
        """
        import re, sys
        from sessionbat import SessionBat
        client = SessionBat(endpoint=sys.argv[1], mask=["password", re.compile("ada@[a-z.]+")])
        interaction = client.session(context={"user": "ada@example.com"}).interaction()
        interaction.llm(input={"password": "hunter2"}, output="to ada@example.com")
        """
    )
    environment = {"SESSIONBAT_SPOOL_DIR": str(tmp_path), "PYTHONPATH": str(SOURCE)}
    port = unused_port()
    url = f"http://127.0.0.1:{port}"

    def run(*arguments: str) -> bytes:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, env=environment, timeout=30, check=True, stdout=subprocess.PIPE
        ).stdout

    run("-c", script, url)
    on_disk = run("-m", "sessionbat", "spool", "export")
    with Endpoint(port=port) as endpoint:
        run("-c", script, url)
        on_the_wire = b"".join(request.body for request in endpoint.requests)
    for found in (on_disk, on_the_wire):
        assert b"[masked]" in found
        assert b"hunter2" not in found
        assert b"ada@" not in found


def test_without_a_mask_none_of_its_code_is_loaded_or_run() -> None:
    script = (
        "import sys; from sessionbat import SessionBat; from sessionbat.transports import *;"
        "c = SessionBat(transport=MemoryTransport()); i = c.session().interaction();"
        "i.llm(input={'a': 1});"
        "print('sessionbat._masking' in sys.modules, c._recorder._mask)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert done.stdout.split() == ["False", "None"]


def test_without_a_mask_a_plain_payload_is_not_rebuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    from sessionbat import _recorder
    from sessionbat._encoding import encoder

    rebuilt: list[object] = []
    monkeypatch.setattr(_recorder, "to_plain", lambda value: rebuilt.append(value))
    monkeypatch.setattr(encoder, "_encode_converted", lambda *given: rebuilt.append(given))
    [event] = record(None, input={"messages": [{"content": "hello"}]}, output="hi")[1]
    assert event["observation"]["input"] == {"messages": [{"content": "hello"}]}
    assert rebuilt == []
