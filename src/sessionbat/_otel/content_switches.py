"""How to switch on messages, for instrumentation that does not send them unless it is told to."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_GENAI: Final = (
    "set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=span_only and "
    "OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental"
)
_OPENINFERENCE: Final = (
    "unset OPENINFERENCE_HIDE_INPUTS, OPENINFERENCE_HIDE_OUTPUTS, "
    "OPENINFERENCE_HIDE_INPUT_MESSAGES and OPENINFERENCE_HIDE_OUTPUT_MESSAGES"
)
_TRACELOOP: Final = "set TRACELOOP_TRACE_CONTENT=true"

#: What a scope's name begins with, and how to switch its messages on; the longest wins.
SWITCHES: Final[dict[str, str]] = {
    "opentelemetry.instrumentation.genai.": _GENAI,
    "opentelemetry.instrumentation.openai_v2": _GENAI,
    "opentelemetry.instrumentation.google_genai": _GENAI,
    "opentelemetry.instrumentation.vertexai": _GENAI,
    "opentelemetry.instrumentation.botocore": _GENAI,
    "opentelemetry.util.genai": _GENAI,
    "gcp.vertex.agent": _GENAI.replace("span_only", "SPAN_ONLY"),
    "com.anthropic.sdk.python": "set ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE=content",
    "agent_framework": "call enable_instrumentation(enable_sensitive_data=True)",
    "pydantic-ai": "use InstrumentationSettings(include_content=True)",
    "openinference.": _OPENINFERENCE,
    "opentelemetry.instrumentation.": _TRACELOOP,
    "ai": "leave recordInputs and recordOutputs at their default, true",
    "gen_ai": "leave recordInputs and recordOutputs at their default, true",
    "mcp-python-sdk": "this library has no switch: record tool calls with SessionBat's MCP client",
    "fastmcp": "this library has no switch: record tool calls with SessionBat's MCP client",
}


@lru_cache(256)
def switch_for(scope: str) -> str | None:
    """Say how to switch messages on for an instrumentation, by its scope's name."""
    for prefix in sorted(SWITCHES, key=len, reverse=True):
        is_exact = prefix in ("ai", "gen_ai")  # too short to be a prefix
        if scope == prefix or (not is_exact and scope.startswith(prefix)):
            return SWITCHES[prefix]
    return None
