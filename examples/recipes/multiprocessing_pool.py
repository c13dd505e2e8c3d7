"""A pool of processes: every worker records with the same client, and nobody flushes."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from sessionbat import SessionBat

client = SessionBat(app="support-jobs")  # at the top of the module: every worker has it


def summarize(thread_id: str) -> str:
    interaction = client.session(session_id=thread_id).interaction()
    with interaction.measure_llm(model="gpt-5.4-mini", input=f"Summarize {thread_id}") as call:
        call.output = f"All about {thread_id}"  # stands in for your provider's call
    return call.output


def main(method: str = "spawn") -> None:
    threads = [f"thread_{number}" for number in range(20)]
    with ProcessPoolExecutor(4, mp_context=get_context(method)) as pool:
        for summary in pool.map(summarize, threads):
            print(summary)


if __name__ == "__main__":
    main(*sys.argv[1:])
