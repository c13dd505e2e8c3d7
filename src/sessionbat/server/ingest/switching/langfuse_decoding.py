"""Bodies of Langfuse's protocol become parts. Called in the decoder threads."""

from __future__ import annotations

from typing import Any

from sessionbat._otel.langfuse_events import event_parts, score_part, traces_in
from sessionbat.server.ingest.body import Body, Decoded
from sessionbat.server.ingest.switching.received import begin, check_count, json_of
from sessionbat.server.settings import Settings
from sessionbat.server.web.refusal import Refused


def decode_events(
    body: Body, *, settings: Settings, ids: list[str], received_at_us: int
) -> Decoded:
    """Decode a batch of the legacy ingestion; its events' ids are added to ``ids``."""
    text, taking = begin(body, settings, received_at_us)
    given = json_of(text)
    batch = given.get("batch") if isinstance(given, dict) else None
    if not isinstance(batch, list):
        raise Refused(400, "bad-event", "send an object with a list of events, batch", at="batch")
    check_count(len(batch), settings, "events")
    traces = traces_in(batch)
    for place, event in enumerate(batch):
        ids.append(_id_of(event))
        parts = event_parts(event, traces) if isinstance(event, dict) else None
        taking.take(f"batch[{place}]", parts)
    return taking.decoded


def decode_scores(
    body: Body, *, settings: Settings, ids: list[str], received_at_us: int
) -> Decoded:
    """Decode one score or a list of them; their ids are added to ``ids``."""
    text, taking = begin(body, settings, received_at_us)
    given = json_of(text)
    scores = given if isinstance(given, list) else [given]
    check_count(len(scores), settings, "scores")
    for place, score in enumerate(scores):
        ids.append(_id_of(score))
        part = score_part(score, received_at_us * 1000) if isinstance(score, dict) else None
        if part is None:
            message = "a score names the trace, the observation or the session that it is about"
            taking.reject(f"scores[{place}]", "bad-feedback", message)
        else:
            taking.take(f"scores[{place}]", (part,))
    return taking.decoded


def _id_of(event: Any) -> str:
    found = event.get("id") if isinstance(event, dict) else None
    return found if isinstance(found, str) else ""
