"""A WSGI service under ``gunicorn --preload``: imported once, forked, nothing to be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sessionbat import SessionBat

client = SessionBat(app="support-bot")

# Recorded in the master, before it forks: the master delivers it, no worker sends it again.
client.session(session_id="start").interaction().tool_call(tool_name="load_index", output="ready")


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    thread_id = environ["PATH_INFO"].strip("/")
    interaction = client.session(session_id=thread_id).interaction()
    with interaction.measure_llm(model="gpt-5.4-mini", input=thread_id) as call:
        call.output = "Use the reset link."  # stands in for your provider's call
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [call.output.encode()]
