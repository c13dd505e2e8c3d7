"""Prices of one's own: a file that wins over the table, and whose mistakes are said."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionbat.errors import ConfigurationError
from sessionbat.server.prices.estimating import estimator
from sessionbat.server.prices.own_prices import MAX_FILE_BYTES
from tests.server.prices.test_estimating import usage

OWN = """
[models."gpt-5.4-mini"]
input = 1
output = 2.5
cache_read = 0.5
cache_write = 4
reasoning = 10

[models."ollama/Llama3.1"]
input = 0
output = 0

[models."gateway/gpt-5.4-mini"]
input = 7
output = 7
"""


def written(directory: Path, text: str | bytes) -> Path:
    path = directory / "prices.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_own_prices_win_over_the_table(tmp_path: Path) -> None:
    estimate = estimator(written(tmp_path, OWN))
    assert estimate(usage()) == 1.0
    assert estimate(usage(answer=1_000_000)) == 3.5
    assert estimate(usage(read=1_000_000)) == 0.5
    assert estimate(usage(written=1_000_000)) == 4.0
    assert estimate(usage(answer=1_000_000, reasoning=1_000_000)) == 11.0


def test_a_price_of_a_provider_wins_over_that_of_any(tmp_path: Path) -> None:
    estimate = estimator(written(tmp_path, OWN))
    assert estimate(usage(provider="Gateway")) == 7.0
    assert estimate(usage(provider="another gateway")) == 1.0
    assert estimate(usage(provider=None)) == 1.0


def test_only_the_provider_that_is_named_has_the_price(tmp_path: Path) -> None:
    estimate = estimator(written(tmp_path, OWN))
    assert estimate(usage("llama3.1", "ollama")) == 0.0
    assert estimate(usage("llama3.1", "vllm")) is None
    assert estimate(usage("llama3.1", None)) is None


def test_other_models_keep_the_prices_of_the_table(tmp_path: Path) -> None:
    estimate = estimator(written(tmp_path, OWN))
    assert estimate(usage("gpt-4o")) == estimator()(usage("gpt-4o")) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no models"),
        ("models = 3", "no models"),
        ("[models]", "no models"),
        ("[model.x]\ninput = 1", "unknown entry 'model'"),
        ("[models.x]\ninput = 1", "no price for output"),
        ("[models.x]\noutput = 1", "no price for input"),
        ("[models]\nx = 1", "no table"),
        ("[models.x]\ninput = 1\noutput = 1\nimage = 1", "'image'"),
        ("[models.x]\ninput = 1\noutput = 1\nrequests = 1", "'requests'"),
        ("[models.x]\ninput = '1'\noutput = 1", "input: '1'"),
        ("[models.x]\ninput = true\noutput = 1", "input: True"),
        ("[models.x]\ninput = -0.1\noutput = 1", "input: -0.1"),
        ("[models.x]\ninput = nan\noutput = 1", "input: nan"),
        ("[models.x]\ninput = inf\noutput = 1", "input: inf"),
        ("[models.x]\ninput = 1000001\noutput = 1", "input: 1000001"),
        (f"[models.x]\ninput = {'9' * 400}\noutput = 1", "input: 999"),
        ("[models.x]\ninput = 1\noutput = 1\n[models.X]\ninput = 1\noutput = 1", "twice"),
        ("[models.gpt-5.4]\ninput = 1\noutput = 1", "quotes"),
        ("[models.x", "no TOML"),
        ("a = " + "[" * 100_000, "no TOML"),
        (b"\xff\xfe", "no TOML"),
    ],
)
def test_a_mistake_in_the_file_is_said(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[bad-prices\]") as caught:
        estimator(written(tmp_path, text))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[no-prices-file\]"):
        estimator(tmp_path / name)


def test_a_file_as_large_as_may_be_is_read_and_a_larger_one_refused(tmp_path: Path) -> None:
    text = OWN + "#" * (MAX_FILE_BYTES - len(OWN))
    assert estimator(written(tmp_path, text))(usage()) == 1.0
    with pytest.raises(ConfigurationError, match=r"\[bad-prices\]"):
        estimator(written(tmp_path, text + "#"))


def test_a_price_as_high_as_may_be_is_taken(tmp_path: Path) -> None:
    text = "[models.x]\ninput = 1_000_000\noutput = 0"
    assert estimator(written(tmp_path, text))(usage("x")) == 1_000_000
    with pytest.raises(ConfigurationError, match=r"\[bad-prices\]"):
        estimator(written(tmp_path, text.replace("1_000_000", "1_000_000.1")))


def test_a_name_with_a_dot_needs_quotes_and_the_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="quotes"):
        estimator(written(tmp_path, "[models.gpt-5.4]\ninput = 1\noutput = 1"))
