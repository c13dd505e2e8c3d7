"""One run that has ended, and what came of it → the one recording call it is worth.

For ``run_recorder``, which hears of ends, and for its book of runs, which finds out about others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessionbat._langchain.payloads import Answer, answer_so_far
from sessionbat.event import LLM
from sessionbat.integrations import _kit

if TYPE_CHECKING:
    from sessionbat._langchain.tree import Run


def record(run: Run, answer: Answer) -> None:
    """Make the one recording call of a run."""
    placement = run.tree.placement
    if placement is None:
        raise LookupError("the run has no session")
    if run.pieces:
        run.metadata["stream"] = True
        if answer.output is None:
            answer = _with_pieces(answer, run)
    metadata = {**run.metadata, **answer.metadata}
    if run.kind == LLM and "model" not in metadata and "request_model" in metadata:
        # Where ``model=...`` would put it, without a copy of the rest.
        metadata["model"] = metadata["request_model"]
    _kit.record(
        run,
        placement.interaction,
        output=answer.output,
        error=answer.error,
        metadata=metadata,
        metrics=answer.metrics,
        tags=[*placement.tags, *(run.tags or ())] or None,
        context=placement.context,
    )


def record_abandoned(run: Run, status: str) -> None:
    """Record a run that LangChain will not end; called by the book."""
    record(run, Answer(metadata={"status": status}))


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
