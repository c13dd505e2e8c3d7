"""Threads of a pool record into the turn that they work for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from sessionbat import SessionBat, current_interaction

client = SessionBat(app="support-bot")
pool = ThreadPoolExecutor(max_workers=4)


def look_up(topic: str) -> str:
    found = f"All about {topic}"  # stands in for your search
    current_interaction().retrieval(query=topic, documents=[{"id": topic, "content": found}])
    return found


def handle(thread_id: str, topics: list[str]) -> list[str]:
    with client.session(session_id=thread_id) as session, session.interaction():
        # A context of its own for each: one that is running cannot be entered twice.
        futures = [pool.submit(copy_context().run, look_up, topic) for topic in topics]
        return [future.result() for future in futures]
