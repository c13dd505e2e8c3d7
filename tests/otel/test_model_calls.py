"""How each library spells a model call: a row each, beyond what the captures have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sessionbat._otel.model import Span
from tests.otel.making import ANSWERED, ASKED, ORDER, A, Q, events, happened, span
from tests.otel.telling import told

CALL = [["get_order", ORDER]]
CHAT = {"messages": [{"role": "user", "content": Q}]}
COMPLETION = {
    "id": "chatcmpl-1",
    "choices": [{"message": {"role": "assistant", "content": A}, "finish_reason": "stop"}],
}
DUMP = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "HumanMessage"],
    "kwargs": {"content": Q, "type": "human"},
}


def j(value: Any) -> str:
    return json.dumps(value)


MODEL_CALLS: dict[str, Span] = {
    "AI SDK 6": span(
        attributes={
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.prompt.messages": j([{"role": "user", "content": [{"type": "text", "text": Q}]}]),
            "ai.response.text": A,
            "ai.response.finishReason": "stop",
            "ai.telemetry.metadata.sessionId": "thread_42",
            "ai.telemetry.metadata.userId": "user_7",
            "ai.usage.promptTokens": 120,
            "ai.usage.completionTokens": 18,
            "ai.usage.cachedInputTokens": 64,
            "ai.usage.reasoningTokens": 6,
        }
    ),
    "AI SDK 6, stream and chat id": span(
        attributes={
            "ai.operationId": "ai.streamText.doStream",
            "ai.prompt.messages": j([{"role": "user", "content": Q}]),
            "ai.response.text": A,
            "ai.response.finishReason": "stop",
            "ai.telemetry.metadata.chatId": "thread_42",
            "ai.telemetry.metadata.userId": "user_7",
            "ai.usage.inputTokens": 120,
            "ai.usage.outputTokens": 18,
            "ai.usage.inputTokenDetails.cacheReadTokens": 64,
            "ai.usage.outputTokenDetails.reasoningTokens": 6,
        }
    ),
    "GenAI, all in an event": span(
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.conversation.id": "thread_42",
            "user.id": "user_7",
            "gen_ai.usage.input_tokens": 120,
            "gen_ai.usage.output_tokens": 18,
            "gen_ai.usage.cache_read.input_tokens": 64,
            "gen_ai.usage.reasoning.output_tokens": 6,
            "gen_ai.response.finish_reasons": ["stop"],
        },
        events=[
            happened(
                "gen_ai.client.inference.operation.details",
                **{
                    "gen_ai.input.messages": j(ASKED),
                    "gen_ai.output.messages": j(ANSWERED),
                },
            )
        ],
    ),
    "GenAI, values that are no text": span(
        attributes={
            "gen_ai.operation.name": "Chat",
            "gen_ai.input.messages": ASKED,
            "gen_ai.output.messages": ANSWERED,
            "session.id": "thread_42",
            "enduser.id": "user_7",
            "gen_ai.usage.prompt_tokens": "120",
            "gen_ai.usage.completion_tokens": 18.0,
            "gen_ai.usage.cache_read_input_tokens": 64,
            "gen_ai.usage.reasoning_tokens": 6,
            "gen_ai.response.finish_reasons": '["end_turn"]',
        }
    ),
    "OpenLLMetry, numbered prompts": span(
        attributes={
            "llm.request.type": "chat",
            "gen_ai.prompt.0.role": "user",
            "gen_ai.prompt.0.content": Q,
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": A,
            "gen_ai.completion.0.finish_reason": "stop",
            "traceloop.association.properties.thread_id": "thread_42",
            "traceloop.association.properties.user_id": "user_7",
            "gen_ai.usage.prompt_tokens": 120,
            "gen_ai.usage.completion_tokens": 18,
            "gen_ai.usage.cache_read_input_tokens": 64,
            "gen_ai.usage.reasoning_tokens": 6,
        }
    ),
    "OpenInference, indexes from 1 with a gap": span(
        attributes={
            "openinference.span.kind": "LLM",
            "llm.input_messages.1.message.role": "system",
            "llm.input_messages.1.message.content": "Be brief.",
            "llm.input_messages.10.message.role": "user",
            "llm.input_messages.10.message.contents.3.message_content.type": "text",
            "llm.input_messages.10.message.contents.3.message_content.text": Q,
            "llm.output_messages.2.message.role": "assistant",
            "llm.output_messages.2.message.content": A,
            "llm.finish_reason": "stop",
            "metadata": j({"thread_id": "thread_42", "user_id": "user_7"}),
            "llm.token_count.prompt": 120,
            "llm.token_count.completion": 18,
            "llm.token_count.prompt_details.cache_read": 64,
            "llm.token_count.completion_details.reasoning": 6,
        }
    ),
    "OpenInference, whole request and answer": span(
        attributes={
            "openinference.span.kind": "LLM",
            "input.value": j(CHAT),
            "output.value": j(COMPLETION),
            "session.id": "thread_42",
            "user.id": "user_7",
            "llm.token_count.prompt": 120,
            "llm.token_count.completion": 18,
            "llm.token_count.prompt_details.cache_read": 64,
            "llm.token_count.completion_details.reasoning": 6,
        }
    ),
    "OpenInference for DSPy": span(
        attributes={
            "openinference.span.kind": "LLM",
            "input.value": j({"prompt": None, **CHAT}),
            "output.value": j([A]),
            "llm.finish_reason": "stop",
            "session.id": "thread_42",
            "user.id": "user_7",
            "llm.token_count.prompt": 120,
            "llm.token_count.completion": 18,
            "llm.token_count.prompt_details.cache_read": 64,
            "llm.token_count.completion_details.reasoning": 6,
        }
    ),
    "Langfuse, provider's usage": span(
        attributes={
            "langfuse.observation.type": "generation",
            "langfuse.observation.input": j(CHAT),
            "langfuse.observation.output": j({"role": "assistant", "content": A}),
            "langfuse.observation.metadata.finish_reason": '"stop"',
            "langfuse.session.id": "thread_42",
            "langfuse.user.id": "user_7",
            "langfuse.observation.usage_details": j(
                {
                    "input_tokens": 120,
                    "output_tokens": 18,
                    "input_tokens_details": {"cached_tokens": 64},
                    "output_tokens_details": {"reasoning_tokens": 6},
                }
            ),
        }
    ),
    "Langfuse, disjoint usage without a total": span(
        attributes={
            "langfuse.observation.type": "GENERATION",
            "langfuse.observation.input": Q,
            "langfuse.observation.output": A,
            "langfuse.observation.metadata.finish_reason": "stop",
            "session.id": "thread_42",
            "user.id": "user_7",
            "langfuse.observation.usage_details": j(
                {"input": 56, "input_cache_read": 64, "output": 12, "output_reasoning": 6}
            ),
        }
    ),
    "LangSmith, LangChain's dumps": span(
        attributes={
            "langsmith.span.kind": "llm",
            "gen_ai.prompt": j({"messages": [[DUMP]]}),
            "gen_ai.completion": j(
                {
                    "generations": [
                        [
                            {
                                "text": A,
                                "generation_info": {"finish_reason": "stop"},
                                "message": {**DUMP, "id": ["AIMessage"], "kwargs": {"content": A}},
                            }
                        ]
                    ]
                }
            ),
            "langsmith.metadata.conversation_id": "thread_42",
            "langsmith.metadata.user_id": "user_7",
            "langsmith.trace.session_name": "a project",
            "langsmith.metadata.usage_metadata": j(
                {
                    "input_tokens": 120,
                    "output_tokens": 18,
                    "input_token_details": {"cache_read": 64},
                    "output_token_details": {"reasoning": 6},
                }
            ),
        }
    ),
    "Google ADK, older": span(
        "call_llm",
        attributes={
            "gen_ai.system": "gcp.vertex.agent",
            "gen_ai.request.model": "gemini-3-flash",
            "gcp.vertex.agent.session_id": "thread_42",
            "gcp.vertex.agent.user_id": "user_7",
            "gcp.vertex.agent.llm_request": j(
                {"model": "m", "contents": [{"role": "user", "parts": [{"text": Q}]}]}
            ),
            "gcp.vertex.agent.llm_response": j(
                {"content": {"role": "model", "parts": [{"text": A}]}, "finish_reason": "STOP"}
            ),
            "gen_ai.usage.input_tokens": 120,
            "gen_ai.usage.output_tokens": 18,
            "gen_ai.usage.cache_read.input_tokens": 64,
            "gen_ai.usage.reasoning.output_tokens": 6,
        },
    ),
    "Pydantic AI, older": span(
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.conversation.id": "thread_42",
            "user.id": "user_7",
            "events": j(
                [
                    {"event.name": "gen_ai.user.message", "role": "user", "content": Q},
                    {
                        "event.name": "gen_ai.choice",
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": A},
                    },
                ]
            ),
            "gen_ai.usage.input_tokens": 120,
            "gen_ai.usage.output_tokens": 18,
            "gen_ai.usage.details.cache_read_tokens": 64,
            "gen_ai.usage.details.reasoning_tokens": 6,
        }
    ),
    "LiteLLM's raw request": span(
        "raw_gen_ai_request",
        attributes={
            "llm.openai.messages": str(CHAT["messages"]),
            "llm.openai.choices": str(COMPLETION["choices"]),
            "llm.openai.id": "chatcmpl-1",
            "llm.openai.usage": str(
                {
                    "prompt_tokens": 120,
                    "completion_tokens": 18,
                    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": None},
                    "completion_tokens_details": {"reasoning_tokens": 6},
                }
            ),
            "session.id": "thread_42",
            "user.id": "user_7",
        },
    ),
    "MLflow": span(
        attributes={
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.spanInputs": j(CHAT),
            "mlflow.spanOutputs": j(COMPLETION),
            "mlflow.trace.session": "thread_42",
            "mlflow.trace.user": "user_7",
            "mlflow.chat.tokenUsage": j(
                {
                    "input_tokens": 120,
                    "output_tokens": 18,
                    "cache_read_input_tokens": 64,
                    "reasoning_tokens": 6,
                }
            ),
        }
    ),
}


@pytest.mark.parametrize("dialect", MODEL_CALLS)
def test_a_model_call_reads_alike_in_every_dialect(dialect: str) -> None:
    (found,) = told(events(MODEL_CALLS[dialect]))
    assert found == {
        "is": "llm",
        "turn": 1,
        "session": "thread_42",
        "user": "user_7",
        "tokens": "120/18/64/6",
        "finish": "stop",
        "asked": Q,
        "said": A,
    }
