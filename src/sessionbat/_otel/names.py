"""Names of attributes that carry an event through OpenTelemetry, and of what mapping adds.

The output writes the first group, the mapper reads them: an event that went out by OTLP comes in
as it was. GenAI semantic conventions have names for model, messages, tokens and session
(``gen_ai.*``); the output writes those too, for other backends, and they are not read where these
are there. Each value is text; those marked JSON hold one JSON value.
"""

from __future__ import annotations

from typing import Final

# One event of SessionBat
ID: Final = "sessionbat.id"
TYPE: Final = "sessionbat.type"  # llm, tool, retrieval, feedback, or any other
APP: Final = "sessionbat.app"
SESSION: Final = "sessionbat.session_id"
INTERACTION: Final = "sessionbat.interaction_id"
CREATED_AT: Final = "sessionbat.created_at"  # as written in the event; a span's times are rounded
#: The rest of the envelope (tags, context, unknown fields), JSON.
ENVELOPE: Final = "sessionbat.envelope"
#: The whole observation, JSON.
OBSERVATION: Final = "sessionbat.observation"
#: Of an event that is no observation, the whole feedback, JSON.
FEEDBACK: Final = "sessionbat.feedback"

# In ``observation.metadata``
OPERATION: Final = "operation"
AGGREGATE: Final = "aggregate"
SOURCE: Final = "source"
PARENT: Final = "parent_observation_id"
AGENT: Final = "agent"
NODE: Final = "node"
STEP: Final = "step"
STATUS: Final = "status"
#: The status of a call whose beginning has come, and not its end.
UNFINISHED: Final = "unfinished"
TRACE_ID: Final = "trace_id"
SPAN_ID: Final = "span_id"
INSTRUMENTATION: Final = "instrumentation"
#: ``off`` where the emitter was told to send no messages.
CONTENT: Final = "content"
#: Of all spans that tell of this call, where there are several: ``trace-span`` each.
SPAN_IDS: Final = "span_ids"
#: What this event took from those other spans: ``metrics.input_tokens``, ``error`` and the like.
LENT: Final = "lent_by_other_spans"

# In ``context``
SESSION_FROM: Final = "session_from"
FROM_TRACE: Final = "trace"
TRANSCRIPT: Final = "transcript"
EMBEDDINGS: Final = "embeddings"
RERANK: Final = "rerank"
