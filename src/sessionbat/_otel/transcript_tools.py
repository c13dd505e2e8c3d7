"""Which tool calls that are known only from a later request become events.

None that a span tells of; and each once, however many requests repeat it.
"""

from __future__ import annotations

from collections.abc import Mapping

from sessionbat._otel.model import SpanKey
from sessionbat._otel.parts import Facts


def known_from_transcript(
    parts: Mapping[SpanKey, Facts],
    sessions: Mapping[SpanKey, str | None],
    is_turn: Mapping[str, bool],
) -> list[SpanKey]:
    """Give those that become events, one for each call.

    Args:
        parts: All parts.
        sessions: Each one's session; None where no span names it.
        is_turn: For each trace, whether all of a turn is in it; else a turn is several traces.
    """
    told = _Told(parts, sessions)
    by_pair: dict[str, list[SpanKey]] = {}
    for key, facts in parts.items():
        if facts.from_transcript and facts.pair is not None:
            by_pair.setdefault(facts.pair, []).append(key)
    chosen = []
    for keys in by_pair.values():
        for same in _by_turn(parts, keys, sessions, is_turn):
            if not any(told.has(key) for key in same):
                chosen.append(min(same, key=lambda key: (parts[key].start_ns or 0, key)))
    return sorted(chosen)


class _Told:
    """The tool calls that spans tell of."""

    def __init__(
        self, parts: Mapping[SpanKey, Facts], sessions: Mapping[SpanKey, str | None]
    ) -> None:
        self._parts = parts
        self._sessions = sessions
        self._names: set[tuple[str, str]] = set()
        self._ids: set[tuple[str, str]] = set()
        self._sessions_of_id: dict[str, set[str | None]] = {}
        with_model = {key.trace for key, facts in parts.items() if facts.kind == "llm"}
        for key, facts in parts.items():
            if facts.kind != "tool" or facts.from_transcript:
                continue
            if facts.tool:
                self._names.add((key.trace, facts.tool))
            if facts.call_id:
                self._ids.add((key.trace, facts.call_id))
                if key.trace not in with_model:  # a tool beside models is theirs
                    self._sessions_of_id.setdefault(facts.call_id, set()).add(sessions[key])

    def has(self, key: SpanKey) -> bool:
        """Whether a span tells of this call: in its trace, or in its session."""
        facts = self._parts[key]
        if (key.trace, facts.tool or "") in self._names:
            return True
        if facts.call_id is None:
            return False
        known = self._sessions_of_id.get(facts.call_id, set())
        own = self._sessions[key]
        return (key.trace, facts.call_id) in self._ids or (own is not None and own in known)


def _by_turn(
    parts: Mapping[SpanKey, Facts],
    keys: list[SpanKey],
    sessions: Mapping[SpanKey, str | None],
    is_turn: Mapping[str, bool],
) -> list[list[SpanKey]]:
    """Part what belongs to different turns: a turn is a trace, or in traces of one span each.

    Log records repeat what earlier turns called, too.
    """
    found: dict[tuple[str, str], list[SpanKey]] = {}
    for key in keys:
        is_whole = is_turn[key.trace] and not parts[key].is_piece
        turn = ("trace", key.trace) if is_whole else ("session", sessions[key] or "")
        found.setdefault(turn, []).append(key)
    return list(found.values())
