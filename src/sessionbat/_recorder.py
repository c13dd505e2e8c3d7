"""One completed observation, or feedback → an encoded event in the transport's hands, and counts.

The heart of a client, behind its API: here the host is protected from everything that can go
wrong. Loaded by the first client, because the encoder is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sessionbat._encoding import Snapshot, encode_event
from sessionbat._encoding.feedback import encode_feedback, feedback_object, plain_feedback
from sessionbat._encoding.plain_values import to_plain
from sessionbat._encoding.well_formed import as_object, error_object, rfc3339, usable_id, with_model
from sessionbat._host_log import host_log
from sessionbat._measure import Measurement
from sessionbat._refusing import RefusedError
from sessionbat._sampling import is_sampled
from sessionbat._scope import Scope
from sessionbat._timestamp import utc_now
from sessionbat.accounting import WITHHELD, FlushResult, Ledger, Stats
from sessionbat.event import (
    FEEDBACK,
    MAX_EVENT_BYTES,
    RETRIEVAL,
    EncodedEvent,
    is_event_id,
    new_event_id,
)
from sessionbat.transports import CountingTransport, Transport

if TYPE_CHECKING:
    from sessionbat._masking.mask import Mask, Masked

_log = host_log


class Recorder:
    """Records for one client.

    Args:
        transport: Takes the events; None where recording is turned off, then nothing is counted.
        enabled: Whether anything is recorded at all.
        mask: Removes what may not leave the process; None leaves events as they are.
        sample_rate: The share of sessions that is recorded, 0 to 1.
        max_event_bytes: The longest an event may be.
    """

    def __init__(
        self,
        transport: Transport | None,
        *,
        enabled: bool,
        mask: Mask | None = None,
        sample_rate: float = 1.0,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self._transport = transport
        self._mask = mask
        self._sample_rate = sample_rate
        self._max_event_bytes = max_event_bytes
        self._enabled = enabled and transport is not None
        # Of a transport that does not count, an event taken without an exception was delivered.
        self._counting = transport if isinstance(transport, CountingTransport) else None
        self.ledger = Ledger() if self._counting is None else self._counting.ledger
        self._closed = False
        #: Whether there may be a reason not to record: so that most calls ask one question only.
        self._is_choosy = not self._enabled or sample_rate < 1
        self._hand_over = self._send if self._counting is None else self._counting.take
        self._last_acts: list[Callable[[], object]] = []

    @property
    def transport(self) -> Transport | None:
        """What takes the events; None where recording is turned off."""
        return self._transport

    @property
    def sample_rate(self) -> float:
        """The share of sessions that is recorded."""
        return self._sample_rate

    @property
    def max_event_bytes(self) -> int:
        """The longest an event may be."""
        return self._max_event_bytes

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more."""
        return self._closed

    def record(
        self,
        scope: Scope,
        kind: str,
        observation_id: str | None,
        name: str | None,
        started_at: datetime | float | str | None,
        input: Any,
        output: Any,
        error: Any,
        metadata: Any,
        metrics: Any,
        model: str | None = None,
    ) -> str:
        """Encode one observation and hand it to the transport. Never raises, never waits.

        Returns:
            The observation's id, whatever becomes of it.
        """
        event_id = new_event_id() if observation_id is None else self.event_id(observation_id)
        if self._is_choosy and not self._wants(scope):
            return event_id
        try:
            if model is not None:
                metadata = {"model": model} if metadata is None else with_model(metadata, model)
            elif type(metadata) is not dict:
                metadata = as_object(metadata, "metadata")
            observation = {
                "kind": kind,
                "name": name if name is None or type(name) is str else usable_id(name),
                "started_at": started_at if started_at is None else rfc3339(started_at),
                "input": input,
                "output": output,
                "error": error if error is None else error_object(error),
                "metadata": metadata,
                "metrics": {} if metrics is None else metrics,
            }
            envelope = {
                "type": kind,
                "id": event_id,
                "created_at": utc_now(),
                "app": scope.app,
                "session_id": scope.session_id,
                "interaction_id": scope.interaction_id,
                "tags": scope.tags_json,
                "context": scope.context_json,
            }
            if self._mask is not None:
                masked = self._masked(self._mask, scope, envelope, observation)
                if masked is None:
                    return event_id
                observation = masked
            line = encode_event(envelope, observation, self._max_event_bytes)
        except Exception as failure:  # noqa: BLE001 - the host is protected here
            self._drop("not-encoded", f"encoding raised {type(failure).__name__}")
            return event_id
        try:
            self._hand_over(event_id, line)
        except Exception as failure:  # noqa: BLE001 - the transport may be the host's own
            self._drop_refused(failure)
        return event_id

    def record_feedback(self, scope: Scope, **given: Any) -> str:
        """Encode what somebody says of a session; as ``record`` otherwise.

        Args:
            scope: Of the session or turn that it is about.
            given: Fields of ``feedback``; those that are missing are null.
        """
        event_id = new_event_id()
        if self._is_choosy and not self._wants(scope):
            return event_id
        try:
            line = self._encoded_feedback(event_id, scope, given)
        except Exception as failure:  # noqa: BLE001 - the host is protected here
            self._drop("not-encoded", f"encoding raised {type(failure).__name__}")
            return event_id
        try:
            if line is not None:
                self._hand_over(event_id, line)
        except Exception as failure:  # noqa: BLE001 - the transport may be the host's own
            self._drop_refused(failure)
        return event_id

    def _encoded_feedback(self, event_id: str, scope: Scope, given: dict[str, Any]) -> bytes | None:
        envelope = {
            "type": FEEDBACK,
            "id": event_id,
            "created_at": utc_now(),
            "app": scope.app,
            "session_id": scope.session_id,
            "interaction_id": scope.interaction_id or None,
            "tags": scope.tags_json,
            "context": scope.context_json,
        }
        if self._mask is not None:
            plain = {**envelope, "tags": scope.tags, "context": scope.context}
            masked = self._mask.apply_to_feedback(plain, plain_feedback(given))
            fields = self._settle_mask(masked, envelope)
            if fields is None:
                return None
            given = fields["feedback"]
        feedback, trouble = feedback_object(given)
        if trouble is not None:
            self._mend(trouble, _FEEDBACK_TROUBLES[trouble])
        return encode_feedback(envelope, feedback, self._max_event_bytes)

    def _wants(self, scope: Scope) -> bool:
        """Whether to record at all; what is not recorded is counted here."""
        if not self._enabled:
            return False
        if self._sample_rate < 1 and not is_sampled(scope.session_id, self._sample_rate):
            self.ledger.sample_out()
            return False
        if self._closed:
            self._drop("closed", "the client is closed")
            return False
        return True

    def _masked(
        self, mask: Mask, scope: Scope, envelope: dict[str, Any], observation: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Mask an observation, and the envelope's tags and context in place; None: do not send."""
        plain = {**envelope, "tags": scope.tags, "context": scope.context}
        fields = self._settle_mask(mask.apply(plain, observation), envelope)
        return None if fields is None else fields["observation"]

    def _settle_mask(self, masked: Masked, envelope: dict[str, Any]) -> dict[str, Any] | None:
        """Count what a mask came to, and put its tags and context in place; None: do not send."""
        fields, trouble = masked
        if fields is None:
            self._drop(WITHHELD, "the mask returned None for it")
            return None
        if trouble is not None:
            self._mend(trouble, _MASK_TROUBLES[trouble])
        envelope["tags"], envelope["context"] = fields["tags"], fields["context"]
        return fields

    def measurement(
        self,
        scope: Scope,
        kind: str,
        name: str | None,
        input: Any,
        metadata: Mapping[str, Any] | None,
        metrics: Mapping[str, float] | None,
        observation_id: str | None,
        model: str | None = None,
    ) -> Measurement:
        """Begin to measure an operation; its input is taken as it is now."""
        taken = self.taken(input)

        def record(call: Measurement) -> None:
            output = call.output
            if kind == RETRIEVAL and output is not None:
                output = {"documents": output}
            self.record(
                scope,
                kind,
                call.id,
                name,
                call.started_at,
                taken,
                output,
                call.error,
                call.metadata,
                call.metrics,
                model,
            )

        return Measurement(
            record,
            id=self.event_id(observation_id),
            metadata={**as_object(metadata, "metadata")},
            metrics={**as_object(metrics, "metrics")},
        )

    def taken(self, value: Any) -> Any:
        """Take a payload as it is now, to be recorded when its operation ends."""
        # A mask has to see all of it: a snapshot may be cut, and hold half of what is looked for.
        return Snapshot(value) if self._mask is None else to_plain(value)

    def event_id(self, given: str | None) -> str:
        """Settle an observation's id: the host's where it can serve, else a new one."""
        if given is None:
            return new_event_id()
        if is_event_id(given):
            return given
        text = usable_id(given)
        if text is not None and is_event_id(text):
            return text
        self._mend("bad-observation-id", "an observation id was not valid; a new one was used")
        return new_event_id()

    def usable_id(self, given: object, what: str) -> str:
        """Settle a session's or interaction's id: the host's as text, else a new one."""
        if given is None:
            return new_event_id()
        text = usable_id(given)
        if text is None:
            self._mend(f"bad-{what}-id", f"a {what} id was empty or not valid; a new one was used")
            return new_event_id()
        return text

    def flush(self, timeout: float | None) -> FlushResult:
        """Ask the transport to flush, and sum up."""
        return self._wait_for("flush", timeout)

    def before_close(self, act: Callable[[], object]) -> None:
        """Have something done at the first close, while recording still works."""
        self._last_acts.append(act)

    def close(self, timeout: float | None) -> FlushResult:
        """Take no more and close the transport; closing again only sums up."""
        if self._closed:
            return self._wait_for("flush", 0)
        while self._last_acts:
            try:
                self._last_acts.pop()()
            except Exception as error:  # noqa: BLE001 - an integration may be the host's own
                self._mend("close-error", f"an on_close callback raised {type(error).__name__}")
        self._closed = self._is_choosy = True
        return self._wait_for("close", timeout)

    def stats(self) -> Stats:
        """Count what became of everything recorded."""
        if self._counting is not None:
            stats = self._ask("stats")
            if isinstance(stats, Stats):
                return stats
        return self.ledger.stats()

    def _wait_for(self, what: str, timeout: float | None) -> FlushResult:
        answer = self._ask(what, timeout)
        if isinstance(answer, FlushResult):
            return answer
        stats = self.ledger.stats()
        return self.ledger.flush_result(stats.recorded, stats.pending, stats.spooled)

    def _ask(self, what: str, *given: object) -> object:
        if self._transport is None:
            return None
        try:
            return getattr(self._transport, what)(*given)
        except Exception as error:  # noqa: BLE001 - the transport may be the host's own
            kind = type(error).__name__
            self._mend("transport-error", f"the transport's {what} raised {kind}")
            return None

    def _send(self, event_id: str, line: bytes) -> None:
        assert self._transport is not None
        self._transport.send(EncodedEvent(event_id, line))
        with self.ledger.lock:
            self.ledger.recorded += 1
            self.ledger.deliver()

    def _drop_refused(self, failure: Exception) -> None:
        """Count an event that could not be handed over, by why."""
        kind = type(failure).__name__
        if isinstance(failure, RefusedError):
            self._drop(failure.reason, failure.message)
        elif isinstance(failure, (RecursionError, MemoryError)):  # the host is out of stack, memory
            self._drop("not-encoded", f"queueing raised {kind}")
        else:
            self._drop("transport-error", f"the transport raised {kind}")

    def _drop(self, reason: str, message: str) -> None:
        if self.ledger.record_dropped(reason):
            _log.warning("dropped an event: %s; more are counted only. [%s]", message, reason)

    def _mend(self, reason: str, message: str) -> None:
        if self.ledger.mend(reason):
            _log.warning("%s; more are counted only. [%s]", message, reason)


_MASK_TROUBLES: Final = {
    "mask-failed": "the mask raised or returned no event; what it should have masked is not sent",
    "mask-slow": "a pattern of the mask takes too long; what it was to search is masked whole",
    "mask-identity": "the mask changed an event's id, time, app or session; they are sent as given",
}


_FEEDBACK_TROUBLES: Final = {
    "bad-score": "a feedback's score was no finite number; the rest of it is recorded",
    "bad-observation-id": "a feedback's observation_id was unusable; it is recorded without",
    "empty-feedback": "a feedback said nothing; pass a score, a label or a comment",
}
