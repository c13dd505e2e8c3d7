"""Bodies of Langfuse's protocol become parts. Called in the decoder threads."""

from __future__ import annotations

from typing import Any

from sessionbat._otel.langfuse_events import event_parts, score_part, traces_in
from sessionbat.server.ingest.body import Body, Decoded, inflate
from sessionbat.server.ingest.switching.received import Taking, json_of
from sessionbat.server.settings import Settings
from sessionbat.server.web.refusal import Refused


def decode_events(
    body: Body, *, settings: Settings, ids: list[str], received_at_us: int
) -> Decoded:
    """Decode a batch of the legacy ingestion; its events' ids are added to ``ids``."""
    given, taking = _begin(body, settings, received_at_us)
    batch = given.get("batch") if isinstance(given, dict) else None
    if not isinstance(batch, list):
        raise Refused(400, "bad-event", "send an object with a list of events, batch", at="batch")
    _check_count(len(batch), settings)
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
    given, taking = _begin(body, settings, received_at_us)
    scores = given if isinstance(given, list) else [given]
    _check_count(len(scores), settings)
    for place, score in enumerate(scores):
        ids.append(_id_of(score))
        part = score_part(score, received_at_us * 1000) if isinstance(score, dict) else None
        if part is None:
            message = "a score names the trace, the observation or the session that it is about"
            taking.reject(f"scores[{place}]", "bad-feedback", message)
        else:
            taking.take(f"scores[{place}]", (part,))
    return taking.decoded


def _begin(body: Body, settings: Settings, received_at_us: int) -> tuple[Any, Taking]:
    text = inflate(body.data, body.encoding, settings.max_body_bytes)
    return json_of(text), Taking(text, body.app, received_at_us)


def _check_count(count: int, settings: Settings) -> None:
    if count > settings.max_body_events:
        message = f"more than {settings.max_body_events} in a body; send less"
        raise Refused(413, "too-many-events", message)


def _id_of(event: Any) -> str:
    found = event.get("id") if isinstance(event, dict) else None
    return found if isinstance(found, str) else ""
