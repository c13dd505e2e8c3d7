"""One spelling for what a reader takes for the same, and the way back to what was written."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessionbat.server.reading.folding import JOINER, Trace, _clusters, fold, holds_word
from sessionbat.server.store.query_terms import parse_query

# Letters, marks, jamo, kana, emoji and signs that meet each other seldom in real texts.
ODD = (
    "aIß ﬁæøıİéñΐᾳΣςѐёйЙўїأآٱؤئىةـَّ١۲שׁלàกำ็ລက្ក가각힣ㅋ간カガｶﾞﾊﾟ用㍿①½²Å™№"
    "👩👩🏽‍💻🎉🇩🇪❤️☀1️⃣\u3000＂＊\u0301\u0308\u0306\u3099"
    "\u1161\u11a8\u200d\u200c\u2060\ufe0f\xad\x01\x02\x03\n\x00हिन्दी"
)
texts = st.text(st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"])))


def spelled(text: str) -> str:
    return fold(text).replace(JOINER, "").lower()


@pytest.mark.parametrize(
    "same",
    [
        ("ガイド", "カ\u3099イト\u3099", "ｶﾞｲﾄﾞ"),
        ("환불은", unicodedata.normalize("NFD", "환불은")),
        ("ABC123", "ＡＢＣ１２３", "abc123"),
        ("οδός", "ΟΔΟΣ", "οδος", "Οδός"),
        ("ёжик", "ежик", "ЁЖИК", "ежи\u0301к"),
        ("كَتَبَ", "كتب", "كـــتب"),
        ("أحمد", "احمد", "إحمد", "ٱحمد"),
        ("مدرسة", "مدرسه"),
        ("سلامی", "سلامي"),
        ("١٢٣", "123", "۱۲۳"),
        ("שָׁלוֹם", "שלום"),
        ("straße", "STRASSE", "strasse"),
        ("ﬁnance", "finance"),
        ("œuvre", "oeuvre", "ŒUVRE"),
        ("smørrebrød", "smorrebrod"),
        ("łódź", "LODZ"),
        ("İstanbul", "istanbul", "ISTANBUL", "ıstanbul"),
        ("naïve", "nai\u0308ve", "NAIVE"),
        ("Việt", "viet"),
        ("👩🏽‍💻", "👩‍💻", "👩💻"),
        ("❤️", "❤"),
        ("1️⃣", "1"),
        ("co\xadoperate", "cooperate"),
        ("用户", "用\ufe00户"),
    ],
)
def test_equivalent_spellings_fold_alike(same: tuple[str, ...]) -> None:
    assert len({spelled(each) for each in same}) == 1


@pytest.mark.parametrize(
    "apart",
    [
        ("мой", "мои"),
        ("ўсё", "усё"),
        ("їжак", "іжак"),
        ("カ", "ガ"),
        ("ก", "ก็"),
        ("हिन्दी", "हन्द"),
        ("🎉", "🎊"),
        ("☀", "☁"),
    ],
)
def test_letters_that_differ_stay_apart(apart: tuple[str, str]) -> None:
    assert len({spelled(each) for each in apart}) == 2


def test_plain_text_is_left_as_it_is() -> None:
    text = 'Reset *your* "password"\n\x00' * 100
    assert fold(text) == text


def test_signs_do_not_grow_together_with_their_words() -> None:
    assert fold("Word™, the") == "Word , the"


@given(texts)
@example("カ\u3099" * 300)
def test_composition_does_not_matter(text: str) -> None:
    forms = {spelled(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}
    assert len(forms) == 1


@given(texts)
@example("用é" * 10_000)
@example("한글" * 9_000)
@example("用" * 300 + "e\u0301" * 300)
def test_a_text_is_folded_as_its_characters_are(text: str) -> None:
    clusters = _clusters(text, 0, len(text))
    assert "".join(fold(text[start:end]) for start, end in clusters) == fold(text)


@given(texts)
@example("a\u0301用👩🏽‍💻")
def test_each_place_of_the_folded_text_has_its_place_in_the_text(text: str) -> None:
    trace, folded = Trace(text), fold(text)
    starts = [trace.start_of(place) for place in range(len(folded))]
    assert starts == sorted(starts)
    for place, start in enumerate(starts):
        end = trace.end_of(place + 1)
        assert 0 <= start < end <= len(text)
        assert folded[place] in fold(text[start:end]) or not fold(text[start:end])


@given(texts)
def test_any_text_can_be_asked_for(text: str) -> None:
    for term in parse_query(text):
        assert '"' not in term.words
        assert "\x00" not in term.words
        assert holds_word(term.words)


@pytest.mark.parametrize(("asked", "count"), [("🎉", 1), ("☀️", 1), ("— … ™", 0), ("٪", 0)])
def test_an_emoji_is_a_word_and_other_signs_are_not(asked: str, count: int) -> None:
    assert len(parse_query(asked)) == count
