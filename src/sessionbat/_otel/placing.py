"""Which parts become events, and where they belong; looks at facts only.

A trace need not be complete: what has come so far is placed, and placed anew when more comes. An
answer depends on the parts, never on their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from sessionbat._otel import names, values
from sessionbat._otel.duplicates import groups_of
from sessionbat._otel.envelopes import id_of, time_of
from sessionbat._otel.families import Families, is_event, tells_of
from sessionbat._otel.model import SpanKey
from sessionbat._otel.parts import Facts, Place
from sessionbat._otel.transcript_tools import known_from_transcript

_T = TypeVar("_T")

#: Spans of one call whose ids are kept.
MAX_SPAN_IDS: Final = 16


def place(parts: Mapping[SpanKey, Facts]) -> dict[SpanKey, Place]:
    """Say which parts become events, and where; a part that is missing here becomes none.

    The answer depends on the parts only, not on their order. Give all known parts of the traces
    in question, and those of other traces of the app that share one of ``Facts.joins``.
    """
    return _Placing(Families(parts)).places()


class _Placing:
    """One look at a set of parts."""

    def __init__(self, families: Families) -> None:
        self.families = families
        self.parts = families.parts
        self.groups, self.dropped = groups_of(families)
        self.members: dict[SpanKey, list[SpanKey]] = {}
        for leader, keys in self.groups.members().items():
            kept = [key for key in keys if key not in self.dropped]
            if kept:
                self.members[leader] = sorted(kept, key=self._worth, reverse=True)
        self.sums = self._sums_that_stand_for_calls()
        self.events = {key: key for key in self.sums}
        for keys in self.members.values():
            self.events.update(dict.fromkeys(keys, keys[0]))
        self._inherit()

    def places(self) -> dict[SpanKey, Place]:
        """Give the place of each part that becomes an event."""
        found = {keys[0]: self._place(keys) for keys in self.members.values()}
        found.update({key: self._place([key]) for key in self.sums})
        sessions = {key: self._session([key]) for key in self.families.order}
        for key in known_from_transcript(self.parts, sessions, self.is_turn):
            found[key] = self._place([key])
        return found

    def _worth(self, key: SpanKey) -> tuple[int, bool, int, SpanKey]:
        facts = self.parts[key]
        return facts.richness, not facts.is_log, self.families.depth[key], key

    def _sums_that_stand_for_calls(self) -> list[SpanKey]:
        """Find agents that say what their calls took in all, and none of whose calls was sent."""
        has_call: set[SpanKey] = set()
        for key in self.families.upwards():
            facts = self.parts[key]
            is_call = facts.kind == "llm" and not facts.operation and key not in self.dropped
            if is_call or key in has_call:
                has_call.add(key)
                above = self.families.parent[key]
                if above is not None:
                    has_call.add(above)
        chosen, below_chosen = [], set()
        for key in self.families.order:
            above = self.families.parent[key]
            if above is not None and above in below_chosen:
                below_chosen.add(key)
            elif self.parts[key].has_sums and key not in has_call:
                chosen.append(key)
                below_chosen.add(key)
        return chosen

    def _inherit(self) -> None:
        """Hand down session, user, agent, node, and in which event or agent each part is."""
        self.session: dict[SpanKey, str | None] = {}
        self.user: dict[SpanKey, str | None] = {}
        self.agent: dict[SpanKey, str | None] = {}
        self.node: dict[SpanKey, str | None] = {}
        self.container: dict[SpanKey, SpanKey | None] = {}
        for key in self.families.order:
            facts, above = self.parts[key], self.families.parent[key]
            if above is None:
                self.session[key], self.user[key] = facts.session or None, facts.user or None
                self.agent[key], self.node[key] = facts.agent or None, facts.node or None
                self.container[key] = None
            else:
                self.session[key] = facts.session or self.session[above]
                self.user[key] = facts.user or self.user[above]
                self.agent[key] = facts.agent or self.agent[above]
                self.node[key] = facts.node or self.node[above]
                self.container[key] = self._contained_by(above, facts)
        self._look_at_traces()

    def _contained_by(self, above: SpanKey, facts: Facts) -> SpanKey | None:
        if facts.from_transcript:  # the request tells of it, and is not around it
            return self.container[above]
        around = self.parts[above]
        is_one = (above in self.events and not around.is_http) or around.is_agent
        return above if is_one else self.container[above]

    def _look_at_traces(self) -> None:
        """Find each trace's session and user, and whether all of it is one turn."""
        self.trace_session: dict[str, str] = {}
        self.trace_user: dict[str, str] = {}
        self.is_turn: dict[str, bool] = {}
        self.first_call: dict[str, SpanKey] = {}
        for trace, keys in self.families.by_trace().items():
            calls = (k for k in keys if k in self.events and not tells_of(self.parts[k]))
            if (first := next(calls, None)) is not None:
                self.first_call[trace] = first
            for own, kept in ((self.session, self.trace_session), (self.user, self.trace_user)):
                said = [key for key in keys if own[key] is not None]
                if said:
                    kept[trace] = own[min(said, key=self._closeness)] or ""
            self.is_turn[trace] = self._is_turn(keys)
        for keys in self.members.values():  # a call told of in two traces joins them
            self._share(keys, self.session, self.trace_session)
            self._share(keys, self.user, self.trace_user)

    def _share(
        self, keys: list[SpanKey], own: Mapping[SpanKey, str | None], kept: dict[str, str]
    ) -> None:
        traces = {key.trace for key in keys} if len(keys) > 1 else set()
        if len(traces) < 2:
            return
        said = sorted(kept[trace] for trace in traces if trace in kept)
        direct = [value for key in keys if (value := own[key]) is not None]
        for trace in traces - set(kept):
            if direct or said:
                kept[trace] = (direct or said)[0]

    def _closeness(self, key: SpanKey) -> tuple[bool, int, int, SpanKey]:
        said_later = tells_of(self.parts[key])
        return said_later, self.families.depth[key], self.parts[key].start_ns or 0, key

    def _is_turn(self, keys: list[SpanKey]) -> bool:
        """Whether a trace has something around its calls, or several of them."""
        calls = set()
        for key in keys:
            facts = self.parts[key]
            is_aside = facts.from_transcript or facts.is_log or tells_of(facts)
            if is_aside or facts.kind == "log":
                continue
            if not (is_event(facts) or facts.has_sums) or facts.is_http:
                return True
            if facts.parent and self.families.parent[key] is None:  # more of it is elsewhere
                return True
            calls.add(self.groups.of(key) if key in self.groups else key)
        return len(calls) > 1

    def _session(self, keys: list[SpanKey]) -> str | None:
        for key in keys:
            found = self.session[key]
            if found is not None:
                return found
        return self._first_of_trace(keys, self.trace_session)

    def _first_of_trace(self, keys: list[SpanKey], said: Mapping[str, str]) -> str | None:
        for key in keys:
            if value := said.get(key.trace):
                return value
        return None

    def _place(self, keys: list[SpanKey]) -> Place:
        key, facts = keys[0], self.parts[keys[0]]
        session = self._session(keys)
        if facts.event_id is not None:
            return Place(facts.session or session or key.trace, facts.interaction, as_it_came=True)
        if tells_of(facts):
            return self._place_of_feedback(key, session)
        others = [self.parts[each] for each in keys[1:]] if len(keys) > 1 else []
        return Place(
            session_id=session or key.trace or "unknown",
            interaction_id=self._interaction(keys, session),
            session_from=None if session else names.FROM_TRACE,
            user=self._first(keys, self.user) or self._first_of_trace(keys, self.trace_user),
            parent=self._parent(keys),
            agent=self._first(keys, self.agent),
            node=self._first(keys, self.node),
            span_ids=self._span_ids(keys),
            error_type=next((f.error_type for f in others if f.error_type), None)
            if facts.error_type is None
            else None,
            times=self._times(keys) if facts.is_log or facts.from_transcript else None,
            metrics=_lent(facts.metrics, [f.metrics for f in others]) if others else {},
            about=_lent(facts.about, [f.about for f in others]) if others else {},
        )

    def _place_of_feedback(self, key: SpanKey, session: str | None) -> Place:
        """Give the session and turn of what the feedback names; of the trace's first call else."""
        named = self.families.parent[key]
        chosen = named if named is not None else self.first_call.get(key.trace)
        event = self.events.get(named) if named is not None else None
        if chosen is not None and session is None:
            session = self._session([chosen])
        interaction = self._turn_of(chosen or key, session)
        return Place(
            session_id=session or (chosen or key).trace or "unknown",
            interaction_id=None if self.parts[key].is_of_session else interaction,
            session_from=None if session else names.FROM_TRACE,
            user=self.user[key] or self.trace_user.get((chosen or key).trace),
            about_event=None if event is None else self.parts[event].event_id or id_of(event),
        )

    def _turn_of(self, key: SpanKey, session: str | None) -> str | None:
        keys = self.members.get(self.groups.of(key), [key]) if key in self.groups else [key]
        return self._interaction(keys, session)

    def _times(self, keys: list[SpanKey]) -> tuple[str | None, str | None]:
        """Give the end and start of the span that a log record belongs to, else its own time.

        A tool call known from a request was over when that began.
        """
        told = [self.parts[key] for key in keys]
        if told[0].from_transcript:
            return self._before_request(keys[0]), None
        spans = [each for each in told if not each.is_log and each.start_ns is not None]
        chosen = (spans or told)[0]
        if chosen.is_log:
            return time_of(chosen.end_ns), None
        return time_of(chosen.end_ns) or time_of(chosen.start_ns), time_of(chosen.start_ns)

    def _before_request(self, key: SpanKey) -> str | None:
        above = self.families.parent[key]
        asked = (self.parts[each].start_ns for each in (key, above) if each is not None)
        return time_of(min((at for at in asked if at is not None), default=None))

    def _interaction(self, keys: list[SpanKey], session: str | None) -> str | None:
        turns = [key.trace for key in keys if self.is_turn[key.trace]]
        if turns:
            return turns[0]
        asked = next((f.asked for k in keys if (f := self.parts[k]).asked), None)
        if session is None or asked is None:
            return keys[0].trace or None
        return f"turn-{values.digest(session, asked)}"

    def _first(self, keys: list[SpanKey], said: Mapping[SpanKey, str | None]) -> str | None:
        for key in keys:
            if (value := said[key]) is not None:
                return value
        return None

    def _parent(self, keys: list[SpanKey]) -> str | None:
        own = set(keys)
        for key in keys[:MAX_SPAN_IDS]:
            above = self.container[key]
            while above is not None and above in own:
                above = self.container[above]
            if above is not None:
                chosen = self.events.get(above, above)
                return self.parts[chosen].event_id or id_of(chosen)
        return None

    def _span_ids(self, keys: list[SpanKey]) -> tuple[str, ...]:
        if len(keys) == 1:
            return ()
        spans = sorted(key for key in keys if not self.parts[key].is_log)
        return tuple(map(id_of, spans[:MAX_SPAN_IDS])) if len(spans) > 1 else ()


def _lent(own: Mapping[str, _T], others: Iterable[Mapping[str, _T]]) -> dict[str, _T]:
    """Give what others say and one does not; the richer before the poorer."""
    lent: dict[str, _T] = {}
    for each in others:
        for name, value in each.items():
            if name not in own:
                lent.setdefault(name, value)
    return lent
