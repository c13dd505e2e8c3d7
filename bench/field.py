"""Who is compared: names, versions, and what each of them is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OPENTELEMETRY = ("opentelemetry-sdk==1.45.2", "opentelemetry-exporter-otlp-proto-http==1.45.2")


@dataclass(frozen=True)
class Contestant:
    """One column of the table.

    Args:
        name: The column's name.
        module: Its file in `bench/contestants`.
        options: What `start` of that file is told besides the address.
        requirements: What its own environment holds; none: it runs in this one.
        only: The measurements it takes part in; empty: all.
        sink: The sink's port that it sends to.
        seldom: No target refers to it, so it is not measured in every repeat.
    """

    name: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    sink: str = "up"
    seldom: bool = False

    @property
    def is_peer(self) -> bool:
        return bool(self.requirements)


CONTESTANTS = (
    Contestant("sessionbat", "product"),
    Contestant("otel", "opentelemetry_sdk", requirements=OPENTELEMETRY),
    Contestant("floor", "floor"),
    Contestant("floor_fast", "floor", {"fast": True}),
    Contestant("sessionbat_gzip", "product", only=("delivery",), sink="gzip"),
    Contestant(
        "otel_gzip",
        "opentelemetry_sdk",
        {"gzip": True},
        requirements=OPENTELEMETRY,
        only=("delivery",),
    ),
    Contestant("langsmith", "langsmith_client", requirements=("langsmith==0.15.0",), seldom=True),
    Contestant("langfuse", "langfuse_client", requirements=("langfuse==5.0.4",), seldom=True),
    Contestant("posthog", "posthog_client", requirements=("posthog==7.91.1",), seldom=True),
    Contestant("nothing", "nothing", only=("exit_up",)),
)
