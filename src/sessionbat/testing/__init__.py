"""For users' tests: what their code recorded, and an ingestion endpoint that misbehaves on order.

One line in ``conftest.py``, ``pytest_plugins = ["sessionbat.testing"]``, brings the fixtures
``recording`` and ``ingestion_endpoint``; without pytest, ``Recording`` and ``Endpoint`` are used by
hand. Nothing of the SDK imports this, and importing it does not import pytest.
"""

import sys

from sessionbat.testing._fault_endpoint import (
    OFFERS_BATCHES,
    Answer,
    Behaviour,
    Endpoint,
    Request,
    receipt,
    single_events_only,
    unused_port,
)
from sessionbat.testing._recording import Recording

__all__ = [
    "OFFERS_BATCHES",
    "Answer",
    "Behaviour",
    "Endpoint",
    "Recording",
    "Request",
    "receipt",
    "single_events_only",
    "unused_port",
]

# Only where pytest runs already: a script may use an ``Endpoint`` and has no need of pytest.
if "pytest" in sys.modules:
    from sessionbat.testing._fixtures import ingestion_endpoint as ingestion_endpoint
    from sessionbat.testing._fixtures import recording as recording
