"""Words are found where they were said, and shown as they were written."""

from __future__ import annotations

import unicodedata

import pytest

from sessionbat.server.store.opening import Store, open_store
from tests.contract.store.events import AS_WRITTEN, found, received, resent, searchable


def test_appended_events_are_searchable_within_two_seconds(store: Store) -> None:
    store.append([received("e1", output={"text": "Use the reset link."})])
    assert found(store, "reset") == ["e1"]


def test_a_search_covers_input_output_error_and_tool_name(
    store: Store,
) -> None:
    searchable(
        store,
        received("e1", input={"a": [{"b": "inbound"}]}),
        received("e2", output="outbound"),
        received("e3", error={"type": "TimeoutError", "message": "nobody home"}),
        received("e4", kind="tool", name="lookup_account"),
        received("e5", input={"order": 4711}),
    )
    words = ["inbound", "outbound", "nobody", "lookup", "4711"]
    assert [found(store, word) for word in words] == [[f"e{n}"] for n in range(1, 6)]


def test_all_words_have_to_be_there_in_any_order_and_spelling_of_case(store: Store) -> None:
    searchable(store, received("e1", output="Reset your password"), received("e2", output="reset"))
    assert found(store, "PASSWORD reset") == ["e1"]


def test_a_phrase_is_words_next_to_each_other(store: Store) -> None:
    searchable(
        store, received("e1", output="the reset link"), received("e2", output="link the reset")
    )
    assert found(store, '"reset link"') == ["e1"]


def test_a_star_matches_any_word_with_that_prefix(store: Store) -> None:
    searchable(store, received("e1", output="passwords"), received("e2", output="passport"))
    assert found(store, "passw*") == ["e1"]
    assert found(store, "pass*", 2) == ["e2", "e1"]
    assert store.search("pass").items == []


def test_accents_do_not_matter(store: Store) -> None:
    searchable(store, received("e1", output="Größe, café"))
    assert found(store, "CAFE gro*") == ["e1"]


def test_any_part_of_a_chinese_or_japanese_sentence_is_found(store: Store) -> None:
    searchable(
        store, received("e1", output="今日は天気がいいですね"), received("e2", output="気天")
    )
    assert found(store, "天気") == ["e1"]
    hit = store.search("天気が").items[0]
    assert hit.snippet == "今日は天気がいいですね"
    assert "".join(hit.snippet[start:end] for start, end in hit.highlights) == "天気が"


def test_a_resent_message_is_found_once_at_its_first_event(store: Store) -> None:
    events = [
        each._replace(raw=AS_WRITTEN["compact"](each.event)) for each in map(resent, range(4, 9))
    ]
    searchable(store, *events, resent(6, session_id="s2", app="other"))
    assert found(store, "word5", app="support-bot") == ["e6"]
    assert found(store, "word0", app="support-bot") == ["e4"]
    assert found(store, "word5", app="other") == ["e6"]


def test_results_are_last_received_first(store: Store) -> None:
    searchable(store, received("old", at="12:00:00", output="x1"))
    searchable(store, received("new", at="10:00:00", output="x1"))
    assert found(store, "x1") == ["new", "old"]


def test_a_search_in_one_app_finds_nothing_of_another(store: Store) -> None:
    searchable(store, received("e1", output="reset"), received("e2", app="other", output="reset"))
    assert found(store, "reset", app="other") == ["e2"]
    assert store.search("reset", app="nobody").items == []


def test_a_snippet_shows_the_words_in_their_place(store: Store) -> None:
    long = "before " * 200 + "I am Locked <b>out</b> today" + " after" * 200
    searchable(store, received("e1", input=long))
    (hit,) = store.search("locked out").items
    assert (hit.app, hit.session_id, hit.id, hit.kind) == ("support-bot", "s1", "e1", "llm")
    assert [hit.snippet[start:end] for start, end in hit.highlights] == ["Locked", "out"]
    assert "I am Locked <b>out</b> today" in hit.snippet
    assert len(hit.snippet) < 300


def test_no_query_is_an_error(store: Store) -> None:
    searchable(store, received("e1", output="x1"))
    for query in [
        *("", " ", '"', '""', "*", "-", "()", "AND", "NOT x1", "x1 OR", "text:x1", '"x1', "x1\x00"),
        *("^x1", "NEAR(x1 x1)", "{x1}", "x1 + x1", "🦇", "'", "x" * 10_000, "a " * 10_000),
    ]:
        store.search(query)


def test_words_that_are_operators_elsewhere_are_words(store: Store) -> None:
    searchable(store, received("e1", output="this and that"), received("e2", output="this that"))
    assert found(store, "this AND that") == ["e1"]


WRITTEN = {
    "half-width kana": ("ﾊﾟｽﾜｰﾄﾞを忘れた", "パスワード", "ﾊﾟｽﾜｰﾄﾞ"),
    "full-width letters": ("注文 ＡＢＣ１２３ です", "ABC123", "ＡＢＣ１２３"),
    "decomposed kana": ("カ\u3099イト\u3099.pdf", "ガイド", "カ\u3099イト\u3099"),
    "Korean and its particle": ("비밀번호를 잊었어요", "비밀번호", "비밀번호"),
    "a part of a Korean word": ("신용카드번호는", "카드", "카드"),
    "decomposed Korean": (unicodedata.normalize("NFD", "환불은 언제"), "환불", None),
    "Greek": ("Η ΟΔΟΣ μου", "οδός", "ΟΔΟΣ"),
    "Cyrillic": ("Где ёжик?", "ЕЖИК", "ёжик"),
    "Arabic": ("قال كَتَبَ لي", "كتب", "كَتَبَ"),
    "Hebrew": ("שָׁלוֹם לך", "שלום", "שָׁלוֹם"),
    "Thai": ("ลืมรหัสผ่านแล้ว", "รหัสผ่าน", "รหัสผ่าน"),
    "Hindi": ("मेरा पासवर्ड भूल", "पासवर्ड", "पासवर्ड"),
    "an emoji": ("thanks🎉 a lot", "🎉", "🎉"),
    "an emoji of many parts": ("by 👩🏽‍💻 today", "👩‍💻", "👩🏽‍💻"),
    "sharp s": ("Die Straße 5", "strasse", "Straße"),
    "a ligature": ("the ﬁnance team", "finance", "ﬁnance"),
    "after other letters": ("ﬁ ß 👩🏽‍💻 🎉 e\u0301\u0301 Straße: naïve", "NAIVE", "naïve"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_words_match_in_folded_form_and_are_shown_as_written(store: Store, case: str) -> None:
    text, asked, shown = WRITTEN[case]
    searchable(store, received("e1", output=text))
    (hit,) = store.search(asked).items
    assert hit.snippet == text
    marked = [hit.snippet[start:end] for start, end in hit.highlights]
    assert marked == [unicodedata.normalize("NFD", asked) if shown is None else shown]


@pytest.mark.parametrize(("text", "asked"), [("ガイド", "カ"), ("мой", "мои"), ("ก็", "กา")])
def test_a_letter_with_a_mark_of_its_own_is_another(store: Store, text: str, asked: str) -> None:
    searchable(store, received("e1", output=unicodedata.normalize("NFD", text)))
    assert found(store, text) == ["e1"]
    assert store.search(asked).items == []


def test_a_snippet_out_of_a_long_text_is_of_the_text_as_written(store: Store) -> None:
    filler = "Ünïcode Wörter, 用户的订单 und ﬁ 👩🏽‍💻. " * 3000
    searchable(store, received("e1", output=f"{filler} Die Straße von Łódź {filler}"))
    (hit,) = store.search('"strasse von lodz"').items
    ((start, end),) = hit.highlights
    assert hit.snippet[start:end] == "Straße von Łódź"
    assert hit.snippet.startswith("…")
    assert hit.snippet.endswith("…")
    assert hit.snippet.strip("…") in " ".join(f"{filler} Die Straße von Łódź {filler}".split())


@pytest.mark.parametrize("asked", ["＂", '＂a" OR "b＂', "＊", "текст＂"])
def test_wide_marks_in_a_query_are_no_error(store: Store, asked: str) -> None:
    searchable(store, received("e1", output="x1"))
    store.search(asked)


def test_words_of_any_script_leave_the_index_with_their_session(store: Store) -> None:
    texts = [text for text, _, _ in WRITTEN.values()]
    searchable(store, *(received(f"e{n}", output=text) for n, text in enumerate(texts)))
    store.delete_sessions([("support-bot", "s1")])
    searchable(store, received("new", session_id="s2", output="nothing of it"))
    assert [store.search(asked).items for _, asked, _ in WRITTEN.values()] == [[]] * len(texts)


def test_pages_of_results_give_each_once_and_end(store: Store) -> None:
    searchable(store, *(received(f"e{n}", output="x1") for n in range(5)))
    paged, after = list[str](), None
    for _ in range(3):
        page = store.search("x1", limit=2, after=after)
        paged += [hit.id for hit in page.items]
        after = page.next
    assert (paged, after) == (["e4", "e3", "e2", "e1", "e0"], None)


@pytest.mark.parametrize("after", ["", "x", "1-1", "s1", "s-1-1"])
def test_a_search_takes_cursors_of_searches_only(store: Store, after: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        store.search("x1", after=after)


def test_unindexed_events_are_searchable_after_reopening(url: str) -> None:
    first = open_store(url)
    first.append([received("e1", output="x1")])
    first.close()
    again = open_store(url)
    assert found(again, "x1") == ["e1"]
    again.close()
