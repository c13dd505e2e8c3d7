"""For users' tests: an ingestion endpoint that misbehaves on order.

Nothing of the SDK imports this, and it imports nothing that production would not.
"""

from sessionbat._fault_endpoint import (
    OFFERS_BATCHES,
    Answer,
    Behaviour,
    Endpoint,
    Request,
    receipt,
    single_events_only,
    unused_port,
)

__all__ = [
    "OFFERS_BATCHES",
    "Answer",
    "Behaviour",
    "Endpoint",
    "Request",
    "receipt",
    "single_events_only",
    "unused_port",
]
