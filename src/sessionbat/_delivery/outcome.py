"""What became of one request, and what a sender is: the words between it and ``delivering``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from sessionbat._delivery.notices import WrongAddress
from sessionbat._delivery.parcel import Parcel, Rejection


class Verdict(Enum):
    """What an endpoint said to one request."""

    ACCEPTED = "accepted"
    AGAIN = "try again later"
    DENIED = "this key takes nothing for now"
    WRONG_ADDRESS = "this is no ingestion endpoint"
    HALVE = "too much, or something in it is bad"
    NO_BATCHES = "single events only"
    TOO_LARGE = "this one event is too large"
    REFUSED = "this one event will never be taken"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    ``reason`` is a slug (``http-503``, ``network``, ``bad-event``); ``rejected`` names the events
    of an accepted batch that were not taken, with the endpoint's slug for each; ``duplicates``
    counts those that it had already, which ``sent_twice`` explains. ``address`` says
    why it looks as if events were sent to the wrong address. With a refusal, it means that
    something other than an ingestion endpoint may have said so: no verdict on an event from an
    address that has never taken one.
    """

    verdict: Verdict
    reason: str = ""
    retry_after_s: float | None = None
    rejected: tuple[Rejection, ...] = ()
    address: WrongAddress | None = None
    duplicates: int = 0
    sent_twice: bool = False


class EventSender(Protocol):
    """Posts events in one protocol. Safe from several threads; no method raises."""

    @property
    def takes_batches(self) -> bool:
        """Whether several events may go in one request."""

    def post_event(self, line: bytes) -> Outcome:
        """Post a single event."""

    def post_batch(self, parcel: Parcel) -> Outcome:
        """Post several events."""

    def forget_batches(self) -> None:
        """Go back to single events: the endpoint has refused a batch as such."""

    def abandon_in_child(self) -> None:
        """Free in a forked child what a thread of the parent may have held."""
