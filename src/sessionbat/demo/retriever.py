"""Finds help articles by the words they share with a query, ranked by BM25."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sessionbat.demo.help_articles import ARTICLES, Article

# The usual constants: how soon repeating a word stops counting, and how much length costs.
_SATURATION = 1.4
_LENGTH_WEIGHT = 0.75
_TITLE_WEIGHT = 2

_COMMON_WORDS = frozenset(
    re.findall(
        "[a-z]+",
        "a about after all an and any are as at be been before by can cannot did do does for from "
        "had has have how i if in into is it its like me my no not of on only or our out per so "
        "that the their there they this to until up us use was we what when where which will with "
        "within you your",
    )
)


class Retriever:
    """An index over help articles."""

    def __init__(self, articles: Sequence[Article] = ARTICLES) -> None:
        self._articles = articles
        self._counts = [Counter(_words(a.title) * _TITLE_WEIGHT + _words(a.text)) for a in articles]
        self._mean_length = sum(c.total() for c in self._counts) / len(articles)
        found_in = Counter(word for counts in self._counts for word in counts)
        self._rarity = {
            word: math.log(1 + (len(articles) - n + 0.5) / (n + 0.5))
            for word, n in found_in.items()
        }

    def search(self, query: str, limit: int = 3) -> list[dict[str, Any]]:
        """Give the best articles, best first; none when no word of the query is in any."""
        words = set(_words(query))
        scores = [self._score(words, counts) for counts in self._counts]
        ranked = sorted(zip(scores, self._articles, strict=True), key=lambda pair: -pair[0])
        return [
            {"id": a.id, "title": a.title, "score": round(score, 3), "snippet": a.text[:160]}
            for score, a in ranked[:limit]
            if score > 0
        ]

    def _score(self, words: set[str], counts: Counter[str]) -> float:
        length = 1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * counts.total() / self._mean_length
        return sum(
            self._rarity[word] * n * (_SATURATION + 1) / (n + _SATURATION * length)
            for word in words
            if (n := counts[word])
        )


def _words(text: str) -> list[str]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return [_stem(word) for word in words if word not in _COMMON_WORDS]


def _stem(word: str) -> str:
    """Cut a plural's ending: enough for a dozen articles."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
