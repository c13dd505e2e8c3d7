"""A pattern that takes long is refused at once, or stopped, and never holds up the host."""

from __future__ import annotations

import re
import time

import pytest

from sessionbat import ConfigurationError, SessionBat
from sessionbat._masking import slow_patterns
from sessionbat.transports import MemoryTransport
from tests.masking.recorded import masked_input, record

#: Each makes a store of 2,000 events, or searches for seconds: run by CI.
pytestmark = pytest.mark.slow

#: The e-mail pattern that many copy: it tries each start of a run of letters to its end.
QUADRATIC = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
#: The one of docs/masking.md.
LINEAR = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{1,190}")
HEX = "0123456789abcdef"


@pytest.mark.parametrize(
    "pattern",
    [r"[\w.+-]+@[\w-]+\.[\w.]+", r".*password.*=.*x", r"\s*;", r"(\d+)-(\d+)-x", r"\w*\w*\w*!"],
)
@pytest.mark.parametrize(
    ("begin", "unit"), [("", HEX), (" , " * 30_000, HEX), ("", " "), ("", "a.")]
)
def test_a_long_text_costs_bounded_time(pattern: str, begin: str, unit: str) -> None:
    started = time.thread_time()
    masked_input([re.compile(pattern)], begin + unit * (100_000 // len(unit)))
    assert time.thread_time() - started < 5


def test_what_could_not_be_searched_is_not_sent_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = MemoryTransport()
    client = SessionBat(transport=memory, mask=[QUADRATIC])
    interaction = client.session().interaction()
    for _ in range(3):
        interaction.llm(input={"long": HEX * 10_000, "short": "ada@example.com"}, output="fine")
    for event in memory.events:
        observation = event["observation"]
        assert observation["input"] == {"long": "[masked]", "short": "[masked]"}
        assert observation["output"] == "fine"
    assert client.stats().mended == {"mask-slow": 3}
    assert sum("[mask-slow]" in record.message for record in caplog.records) == 1
    assert HEX not in caplog.text


def test_many_long_texts_of_one_event_cost_bounded_time() -> None:
    started = time.thread_time()
    value = masked_input([QUADRATIC], [HEX * 500] * 100)
    assert set(value) == {"[masked]"}
    assert time.thread_time() - started < 5


def test_a_linear_pattern_reads_the_longest_event() -> None:
    client, [event] = record([LINEAR], input=HEX * 60_000 + " ada@example.com")
    assert event["observation"]["input"].endswith(" [masked]")
    assert client.stats().mended == {}


def test_a_long_key_of_two_hundred_lines_is_still_one_find() -> None:
    key = re.compile("-----BEGIN[^-]*-----.*?-----END[^-]*-----", re.DOTALL)
    text = "before -----BEGIN KEY-----" + (HEX * 4 + "\n") * 200 + "-----END KEY----- after"
    assert masked_input([key], text * 20) == "before [masked] after" * 20


@pytest.mark.parametrize(
    "pattern", [r"(a+)+$", r"(\w+\s?)+$", r"([a-z0-9]+)*@", r"(\w*,?)*;", r"(\d+,?)*;"]
)
def test_a_pattern_that_doubles_its_work_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=r"repetition.*\[bad-mask\]"):
        SessionBat(transport=MemoryTransport(), mask=[re.compile(pattern)])


@pytest.mark.parametrize(
    "pattern",
    [r"sk-\w{20,}", r"\b\d{13,19}\b", r"(?i)bearer\s+\S+", r"\+?[\d ()-]{7,20}",
     r"(?:\d[ -]*?){13,16}", r"eyJ[\w-]+\.[\w-]+\.[\w-]+", r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}",
     LINEAR.pattern],
)  # fmt: skip
def test_usual_patterns_are_taken(pattern: str) -> None:
    assert slow_patterns.growth_of(re.compile(pattern)) is not slow_patterns.Growth.EXPONENTIAL


def test_one_that_its_own_words_make_slow_is_known_for_it() -> None:
    assert slow_patterns.growth_of(re.compile(r"user=\w*.*secret")) is slow_patterns.Growth.FASTER
