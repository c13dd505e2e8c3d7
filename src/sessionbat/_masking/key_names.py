"""Which keys a name in a mask means: ``api_key`` is also ``apiKey``, ``x-api-key``, ``API_KEY``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]+|\d+")
_CAPITAL: Final = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: A key is a line at most; of a longer one only so much is split into words.
_MAX_KEY_CHARACTERS: Final = 1024


class KeyNames:
    """The names of one mask.

    Args:
        names: As the host wrote them; each has a letter or digit.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset("".join(split_words(name)) for name in names)
        self._longest = max(map(len, self._names), default=0)
        # The same few keys come with every event.
        self.mean = lru_cache(maxsize=1024)(self._mean)

    def __bool__(self) -> bool:
        return bool(self._names)

    def _mean(self, key: str) -> bool:
        """Whether some words of a key, one behind the other, are a name: ``x-api-key``."""
        words = list(split_words(key[:_MAX_KEY_CHARACTERS]))
        for first in range(len(words)):
            run = ""
            for word in words[first:]:
                run += word
                if run in self._names:
                    return True
                if len(run) >= self._longest:
                    break
        return False


def split_words(key: str) -> Iterator[str]:
    """Split a key into its words: ``userApiKey2`` is ``user``, ``api``, ``key``, ``2``."""
    for found in _WORD.finditer(_CAPITAL.sub(" ", key)):
        yield found[0].casefold()
