"""The one workload of every contestant: a completed model call with a chat of 1 KB or 20 KB.

Standard library only: this runs in the environments of all contestants. The history of a chat is
shared by reference, as an application keeps it; its newest message is new text in every call and
carries a marker, by which the sink counts what has arrived.
"""

from __future__ import annotations

import itertools
import random
from typing import Any, NamedTuple

MODEL = "gpt-5.4-mini"
MARKER = "bench-"
WARM_UP_MARKER = "warm-"

SYSTEM = (
    "You are the support assistant of an airline. Answer briefly and politely, look things up "
    "before you promise anything, and hand over to a person when you are asked to."
)
WORDS = (  # noqa: SIM905 - readable
    "the to you a I your and for it is of in have that with can me my on this be not please we "
    "are will as but so at from if there do was an or help need would like thank sure let know "
    "what how just account password reset link email locked expired token sign browser page "
    "error message booking flight seat cabin upgrade economy business baggage fare refund "
    "voucher cancel change confirm reservation passenger date tomorrow morning evening airport "
    "departure arrival delay connection policy insurance certificate payment card charge "
    "invoice receipt amount dollars currency balance order number status agent transfer office "
    "hours weekend holiday because after before between during against about under over again "
    "already always another available back best better call check choose clear close complete "
    "correct could details different document each early either enough every exactly few find "
    "first follow found full general give good great hand happen hold however immediately "
    "include information instead issue items keep kind last later least leave less list little "
    "long look made make many maybe mean membership might minutes moment more most move much "
    "must name never new next none nothing now offer often once only open option other our out "
    "own part people person place possible price probably problem process provide question "
    "quickly rather reach read ready really reason receive recent record regular remember reply "
    "request resolve response return review right safe same search second section seem send "
    "separate service several share short should show since single situation small some someone "
    "something soon special start step still such support system take team than their them then "
    "these they thing think those through ticket time today together total travel try two type "
    "until update use user valid value verify version very wait want week welcome well were "
    "where which while who whole why window within without work wrong year yes yesterday yet"
).split()

#: Characters of each message of a chat, the answer last: with the rest 1 KB and 20 KB of JSON.
LENGTHS = {1: (170, 190, 60, 180), 20: (*(900, 1100) * 9, 60, 900)}
#: Different chats, so many that no batch of anybody holds one twice: that would flatter whoever
#: compresses the larger batch.
CHATS = {1: 4096, 20: 256}


class Call(NamedTuple):
    """A completed model call, as an application has it at hand."""

    model: str
    input: dict[str, Any]
    output: dict[str, Any]
    metrics: dict[str, int]


class Workload:
    """Makes calls of one size, the same ones in every process.

    Args:
        kilobytes: 1 or 20, of input and output as JSON.
        marker: What the newest message begins with, before the call's number.
        chats: How many different ones; enough of them unless told.
    """

    def __init__(self, kilobytes: int, marker: str = MARKER, chats: int | None = None) -> None:
        lengths = LENGTHS[kilobytes]
        chats = chats or CHATS[kilobytes]
        text = _text(random.Random(kilobytes), sum(lengths) * chats)
        self._marker = marker
        self._chats = []
        place = 0
        for _ in range(chats):
            messages = []
            for length in lengths:
                messages.append(text[place : place + length])
                place += length
            *history, question, answer = messages
            self._chats.append(([_message(*each) for each in enumerate(history)], question, answer))

    def call(self, number: int) -> Call:
        history, question, answer = self._chats[number % len(self._chats)]
        text = f"[{self._marker}{number:08d}] {question}"
        return Call(
            MODEL,
            {"messages": [_SYSTEM_MESSAGE, *history, {"role": "user", "content": text}]},
            {"role": "assistant", "content": answer},
            {
                "latency_ms": 400 + number % 1600,
                "input_tokens": 120 + number % 50,
                "output_tokens": 30 + number % 20,
            },
        )


_SYSTEM_MESSAGE = {"role": "system", "content": SYSTEM}
# The n-th most frequent word of a language occurs about 1/n times as often as the first.
_WEIGHTS = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(WORDS))))


def _message(number: int, text: str) -> dict[str, str]:
    return {"role": "assistant" if number % 2 else "user", "content": text}


def _text(chance: random.Random, characters: int) -> str:
    words = chance.choices(WORDS, cum_weights=_WEIGHTS, k=characters // 4)
    for place in range(0, len(words), 15):
        words[place] = f"{words[place].capitalize()} {chance.randrange(10_000)}"
    text = " ".join(words)
    assert len(text) >= characters
    return text
