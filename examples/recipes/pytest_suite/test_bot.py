from bot import Bot

from sessionbat.testing import Recording


def test_the_bot_looks_before_it_answers(recording: Recording) -> None:
    Bot(recording.client).answer("thread_1", "I am locked out")

    assert recording.steps() == ["retrieval", "tool find_account", "llm"]
    account = recording.only(kind="tool", name="find_account")
    assert account["observation"]["output"] == {"status": "locked"}


def test_nothing_that_it_records_is_lost_or_mended(recording: Recording) -> None:
    Bot(recording.client).answer("thread_1", "I am locked out")

    stats = recording.client.stats()
    assert (dict(stats.dropped), dict(stats.mended)) == ({}, {})
