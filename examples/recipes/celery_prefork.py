"""Celery workers that fork: one client, made where the tasks are defined."""

from __future__ import annotations

from celery import Celery
from celery.signals import worker_process_shutdown

from sessionbat import SessionBat

queue = Celery("support")
client = SessionBat(app="support-jobs")  # every forked child begins with it, empty


@queue.task
def summarize(thread_id: str, text: str) -> str:
    interaction = client.session(session_id=thread_id).interaction()
    with interaction.measure_llm(model="gpt-5.4-mini", input=text) as call:
        call.output = text[:20]  # stands in for your provider's call
    return call.output


@worker_process_shutdown.connect
def deliver(**_: object) -> None:
    client.flush(timeout=5)  # Celery runs no exit handlers of Python's in its children
