"""One run that has ended, and what came of it → the one recording call it is worth.

For ``langchain``, which hears of ends, and for its book of runs, which finds out about others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessionbat._host_log import host_log
from sessionbat._langchain.payloads import Answer, answer_so_far
from sessionbat._timestamp import utc_text
from sessionbat.event import LLM, TOOL

if TYPE_CHECKING:
    from sessionbat._langchain.runs import Run

_log = host_log


def record(run: Run, answer: Answer) -> None:
    """Make the one recording call of a run."""
    tree = run.tree
    interaction = tree.interaction
    if interaction is None:
        raise LookupError("the run has no session")
    if run.pieces:
        run.metadata["stream"] = True
        if answer.output is None:
            answer = _with_pieces(answer, run)
    output = answer.output
    metadata = {**run.metadata, **answer.metadata}
    arguments: dict[str, Any] = {
        "observation_id": run.observation_id,
        # As text, which passes as it is: from seconds the API takes four times as long.
        "started_at": utc_text(int(run.begun_at * 1_000_000) * 1000),
        "error": answer.error,
        "metadata": metadata,
        "metrics": {**_times(run), **answer.metrics},
        "tags": [*tree.tags, *(run.tags or ())] or None,
        "context": tree.context,
    }
    if run.kind == LLM:
        # Where ``model=...`` would put it, without a copy of the rest.
        if "model" not in metadata and "request_model" in metadata:
            metadata["model"] = metadata["request_model"]
        interaction.llm(name=run.name, input=run.asked, output=output, **arguments)
    elif run.kind == TOOL:
        interaction.tool_call(tool_name=run.name, input=run.asked, output=output, **arguments)
    else:
        query = run.asked.value() if run.asked is not None else None
        interaction.retrieval(query=query, documents=answer.output, name=run.name, **arguments)


def record_abandoned(run: Run, status: str) -> None:
    """Record a run that LangChain will not end; called by the book."""
    try:
        run.ended_ns = run.clock.ticks_ns()
        record(run, Answer(metadata={"status": status}))
    except Exception as error:  # noqa: BLE001 - in an event loop or the host's close()
        _log.warning("an open LangChain run was lost: %s. [langchain-run]", type(error).__name__)


def _with_pieces(answer: Answer, run: Run) -> Answer:
    """Put what a stream had said by then in the place of an answer."""
    so_far = answer_so_far(run.pieces, _part)
    return answer._replace(
        output=so_far.output,
        metadata={**so_far.metadata, **answer.metadata},
        metrics={**so_far.metrics, **answer.metrics},
    )


def _part(read: Any, *given: Any, otherwise: Any = None) -> Any:
    try:
        return read(*given)
    except Exception:  # noqa: BLE001 - pieces that do not fit together cost no more than themselves
        return otherwise


def _times(run: Run) -> dict[str, float]:
    if not run.ended_ns:  # a moment rather than a run
        return {}
    times = {"latency_ms": round((run.ended_ns - run.begun_ns) / 1e6, 3)}
    if run.first_token_ns:
        times["time_to_first_token_ms"] = round((run.first_token_ns - run.begun_ns) / 1e6, 3)
    return times
