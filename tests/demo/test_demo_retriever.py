"""The demo's search ranks articles by the words they share with a query."""

from __future__ import annotations

import pytest

from sessionbat.demo.help_articles import Article
from sessionbat.demo.retriever import Retriever


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("locked out, forgot password", "Reset your password"),
        ("my parcel is lost", "My parcel is late or lost"),
        ("VAT on an invoice", "Invoices and VAT"),
    ],
)
def test_the_article_about_it_comes_first(query: str, title: str) -> None:
    assert Retriever().search(query)[0]["title"] == title


def test_words_that_no_article_has_find_nothing() -> None:
    assert Retriever().search("the Reykjavik in the is") == []


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    shop = [Article(str(n), "pots", "") for n in range(5)] + [Article("rare", "kettles", "")]
    documents = Retriever(shop).search("kettles pots")
    assert documents[0]["id"] == "rare"
    assert documents[0]["score"] > documents[1]["score"]


def test_the_same_word_counts_more_in_a_shorter_article() -> None:
    long = Article("long", "fern", "one two three four five six seven")
    assert Retriever([long, Article("short", "fern", "")]).search("fern")[0]["id"] == "short"


def test_no_more_is_given_than_asked_for() -> None:
    assert len(Retriever().search("order account parcel refund", limit=2)) == 2
