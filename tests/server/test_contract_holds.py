"""What the OpenAPI document says, asked of a real server by schemathesis: thousands of requests.

The store holds real sessions, so answers are not empty; ingestion gets what its schema allows and
what it forbids. Nothing may fail, no status or shape may be another than the document says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import GenerationConfig, SchemathesisConfig
from wire import Wire, event

from sessionbat.server.serving import running
from sessionbat.server.settings import Settings

CHECKS = [
    schemathesis.checks.load_all_checks,
]


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()
