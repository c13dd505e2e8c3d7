"""Feedback of LangSmith's own protocol as a part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sessionbat._otel import values
from sessionbat._otel.feedback import Said, feedback_part
from sessionbat._otel.langsmith_ids import id_of_run
from sessionbat._otel.parts import Part
from sessionbat._otel.times import time_ns


def langsmith_feedback(given: Mapping[str, Any]) -> Part | None:
    """Map feedback on a run or a trace; None where it names neither.

    Its ``session_id`` is a project, not a session.
    """
    trace, run = id_of_run(given.get("trace_id")), id_of_run(given.get("run_id"))
    id_ = id_of_run(given.get("id")) or values.digest(values.canonical(given))
    score, value = given.get("score"), given.get("value")
    comment, correction = given.get("comment"), given.get("correction")
    return feedback_part(
        Said(
            id=id_,
            at_ns=time_ns(given.get("modified_at")) or time_ns(given.get("created_at")),
            name=values.name(given.get("key")),
            value=value if score is None else score,
            comment=correction if comment in (None, "") else comment,
            source=values.name(values.dig(given.get("feedback_source"), "type")),
            trace=trace,
            span=run if run != trace else None,
        )
    )
