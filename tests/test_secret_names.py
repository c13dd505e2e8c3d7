"""Which names and values are credentials: both sides of the line, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from sessionbat._secret_names import is_secret, is_secret_name, is_secret_value, without_secrets


def _words(table: str) -> list[str]:
    return table.split()


SECRET = _words("""
api_key apikey API-KEY apiKey x-api-key openai_key OPENAI_API_KEY anthropicKey my_openai_apikey
api_key_2 secret secret_key client_secret clientSecret aws_secret_access_key access_key
aws_access_key_id private_key privateKey PRIVATE_KEY_PEM signing_key encryption_key ssh_key
subscription_key account_key master_key session_key authorization Authorization
Proxy-Authorization authorisation bearer bearer_token cookie Cookie set-cookie Set-Cookie cookies
password passwd pwd db_pwd DB-PWD passphrase passcode userPassword dbpassword db_pass smtp_pass
pass token access_token accessToken refresh_token id_token user_token userToken session-token
bot_token csrf_token csrf xsrf-token authtoken api_tokens refresh_tokens token_value
github_pat GITHUB_PAT pat jwt user_jwt JWT dsn sentry_dsn SENTRY_DSN database_dsn
connection_string connectionString conn_str credentials credential creds aws_creds otp totp_code
seed_phrase recovery_codes webhook_secret x-amz-security-token
""")

ORDINARY = _words("""
max_tokens tokens token_count total_tokens input_tokens max_token token_limit token_usage
next_token page_token eos_token stop_token first_token time_to_first_token_ms token_type tokenizer
tokenization keyword keywords key keys keyboard monkey turkey primary_key foreign_key cache_key
sort_key partition_key public_key idempotency_key s3_key object_key i18n_key project_key
input_key output_key memory_key author authors authority auth_method auth_type authenticated
secretary compass passenger passage pattern patient path patch dispatch bypass spatial
session_id thread_id user_id request_id feature environment release model cooking
expass otpauth_free dsnake passive jwt_type test_pass first_pass map_key thread_key
""")


@pytest.mark.parametrize("name", SECRET)
def test_names_of_credentials(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ORDINARY)
def test_names_that_only_sound_alike(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "value",
    [
        "Bearer abcdef123456",
        "postgres://ada:hunter2@db.internal/app",
        "redis://:hunter2@cache:6379/0",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
        "sk-proj-" + "a1B2" * 8,
        "ghp_" + "a1B2" * 9,
        "AKIA" + "ABCD" * 4,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    ],
)
def test_values_that_look_like_credentials(value: str) -> None:
    assert is_secret_value(value)
    assert is_secret_value(f"see {value} here")


@pytest.mark.parametrize(
    "value",
    [
        "the bearer of good news",
        "https://example.com/a:b@c",
        "https://example.com:8080/path",
        "sk-LEAK",
        "basic",
        "ask-me-anything-about-this-product-today",
        "0123456789abcdef" * 8,
        "ey.not.a-token",
    ],
)
def test_values_that_are_ordinary(value: str) -> None:
    assert not is_secret_value(value)


def test_yes_no_and_nothing_are_no_credentials() -> None:
    assert not is_secret("password_reset_available", True)
    assert not is_secret("password", None)
    assert is_secret("password", 1234)


def test_secrets_are_left_out_at_any_depth_and_the_rest_is_kept() -> None:
    given: Any = {
        "auth": {"api_key": "X", "user": "ada"},
        "http": {"headers": {"Authorization": "X", "Accept": "json"}},
        "pairs": [("Authorization", "X"), ("Accept", "json"), (b"cookie", b"X")],
        "har": [{"name": "Set-Cookie", "value": "X"}, {"name": "Host", "value": "h"}],
        "list": [{"jwt": "X", "n": 1}, [{"deep": [{"dsn": "X", "m": 2}]}]],
        "basic": {"auth": ("ada", "X")},
        "url": "postgres://ada:X@h/d",
        "max_tokens": 5,
    }
    assert without_secrets(given) == {
        "auth": {"user": "ada"},
        "http": {"headers": {"Accept": "json"}},
        "pairs": [["Accept", "json"]],
        "har": [{"name": "Host", "value": "h"}],
        "list": [{"n": 1}, [{"deep": [{"m": 2}]}]],
        "basic": {},
        "max_tokens": 5,
    }
    assert given["auth"]["api_key"] == "X"
