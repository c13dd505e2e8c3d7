"""Every shape that libraries give a model's input and output reads alike in title, page and search.

Each row asks ``QUESTION`` and gets ``ANSWER``; one more way to write either is one more row.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from sessionbat.server.reading.event_reading import answered, asked, read_event
from sessionbat.server.reading.title import NONE, SAID, first_words
from sessionbat.server.records import StoredEvent
from sessionbat.server.store.query_terms import text_of
from tests.server.wire import Wire, event

QUESTION: Final = "Where is my parcel"
ANSWER: Final = "It arrives on Tuesday"

SYSTEM: Final = {"role": "system", "content": "Be brief."}
USER: Final = {"role": "user", "content": QUESTION}
ASSISTANT: Final = {"role": "assistant", "content": ANSWER}
IMAGE: Final = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
REASONING: Final = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
ITEM: Final = {
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": ANSWER, "annotations": []}],
}


def dumped(name: str, **kwargs: Any) -> dict[str, Any]:
    """Write a LangChain object as ``dumpd`` does."""
    return {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", name],
        "kwargs": kwargs,
    }


ASKED: Final[dict[str, Any]] = {
    "a string": QUESTION,
    "a list of strings": [QUESTION],
    "a list of messages": [SYSTEM, USER],
    "one message": USER,
    "chat completions": {"messages": [SYSTEM, USER], "temperature": 0, "tools": [{"name": "t"}]},
    "a batch of one conversation": {"messages": [[SYSTEM, USER]]},
    "content blocks": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    },
    "an image before the text": {
        "messages": [{"role": "user", "content": [IMAGE, {"type": "text", "text": QUESTION}]}]
    },
    "only an image before": {"messages": [{"role": "user", "content": [IMAGE]}, USER]},
    "empty words before": {"messages": [{"role": "user", "content": " \n"}, USER]},
    "developer instead of system": {"messages": [{**SYSTEM, "role": "developer"}, USER]},
    "role User": {"messages": [{"role": "User", "content": QUESTION}]},
    "role HUMAN": {"messages": [{"role": "HUMAN", "content": QUESTION}]},
    "role of an enumeration": {"messages": [{"role": "MessageRole.USER", "content": QUESTION}]},
    "role customer": {"messages": [{"role": "customer", "content": QUESTION}]},
    "no role": {"messages": [{"content": QUESTION}]},
    "prompt": {"prompt": QUESTION},
    "prompts of LangChain": {"prompts": [QUESTION]},
    "input": {"input": QUESTION, "chat_history": []},
    "input with a history": {"input": "And when?", "chat_history": [USER, ASSISTANT]},
    "question": {"question": QUESTION, "k": 3},
    "query": {"query": QUESTION},
    "text": {"text": QUESTION},
    "nested input": {"inputs": {"messages": [USER]}},
    "Responses, input text": {"input": QUESTION, "instructions": "Be brief."},
    "Responses, items": {
        "input": [
            REASONING,
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": QUESTION}],
            },
        ]
    },
    "Responses, ends with a tool's output": {
        "input": [
            USER,
            {"type": "function_call", "call_id": "c", "name": "find", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "[]"},
        ]
    },
    "Anthropic": {"system": [{"type": "text", "text": "Be brief."}], "messages": [USER]},
    "Anthropic, ends with a tool's result": {
        "messages": [
            USER,
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c", "content": "[]"}],
            },
        ]
    },
    "Gemini": {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]},
    "Gemini, one content": {"contents": {"parts": [{"text": QUESTION}]}},
    "Gemini, contents as text": {"contents": QUESTION},
    "Gemini, ends with a function's response": {
        "contents": [
            {"role": "user", "parts": [{"text": QUESTION}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
        ]
    },
    "Bedrock converse": {
        "modelId": "m",
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": QUESTION}]}],
    },
    "Bedrock Titan": {"inputText": QUESTION, "textGenerationConfig": {}},
    "Ollama chat": {"model": "m", "messages": [USER], "stream": False},
    "Ollama generate": {"model": "m", "prompt": QUESTION, "system": "Be brief."},
    "Cohere v1": {"message": QUESTION, "preamble": "Be brief."},
    "Cohere v1, with a history": {
        "message": "And when?",
        "chat_history": [
            {"role": "USER", "message": QUESTION},
            {"role": "CHATBOT", "message": "…"},
        ],
    },
    "Cohere v2": {"messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]},
    "LangChain, model_dump": {
        "messages": [{"type": "human", "content": QUESTION, "example": False}]
    },
    "LangChain, message_to_dict": {"messages": [{"type": "human", "data": {"content": QUESTION}}]},
    "LangChain, dumpd": {
        "messages": [
            [dumped("SystemMessage", content="Be brief."), dumped("HumanMessage", content=QUESTION)]
        ]
    },
    "LangChain, dumpd with its type": [dumped("HumanMessage", content=QUESTION, type="human")],
    "LangChain, a dumped prompt": dumped(
        "ChatPromptValue", messages=[dumped("HumanMessage", content=QUESTION)]
    ),
    "LangChain, type HumanMessage": {"messages": [{"type": "HumanMessage", "content": QUESTION}]},
    "LangChain, pairs": {"messages": [["system", "Be brief."], ["human", QUESTION]]},
    "OTel parts": [{"role": "user", "parts": [{"type": "text", "content": QUESTION}]}],
    "Vercel AI SDK, UI messages": {
        "messages": [
            {
                "id": "1",
                "role": "user",
                "content": "",
                "parts": [{"type": "text", "text": QUESTION}],
            }
        ]
    },
    "Vercel AI SDK, model messages": {
        "prompt": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    },
    "PydanticAI": [
        {
            "kind": "request",
            "parts": [
                {"part_kind": "system-prompt", "content": "Be brief."},
                {"part_kind": "user-prompt", "content": QUESTION},
            ],
        }
    ],
    "LlamaIndex": {
        "messages": [{"role": "user", "blocks": [{"block_type": "text", "text": QUESTION}]}]
    },
    "OpenAI Assistants": [
        {
            "role": "user",
            "content": [{"type": "text", "text": {"value": QUESTION, "annotations": []}}],
        }
    ],
    "ShareGPT": [{"from": "human", "value": QUESTION}],
}

ANSWERED: Final[dict[str, Any]] = {
    "a string": ANSWER,
    "a list of strings": [ANSWER],
    "text": {"text": ANSWER},
    "content": {"content": ANSWER, "stop_reason": "end_turn"},
    "one message": ASSISTANT,
    "a list of messages": [ASSISTANT],
    "chat completions": {
        "id": "c",
        "choices": [{"index": 0, "message": ASSISTANT, "finish_reason": "stop"}],
        "usage": {"total_tokens": 3},
    },
    "of two choices the first": {
        "choices": [{"message": ASSISTANT}, {"message": {**ASSISTANT, "content": "Another"}}]
    },
    "completions": {"choices": [{"text": ANSWER, "index": 0}]},
    "a refusal": {
        "choices": [{"message": {"role": "assistant", "content": None, "refusal": ANSWER}}]
    },
    "a refusal block": {"output": [{**ITEM, "content": [{"type": "refusal", "refusal": ANSWER}]}]},
    "Responses": {"object": "response", "output": [ITEM], "text": {"format": {"type": "text"}}},
    "Responses, reasoning first": {"output": [REASONING, ITEM]},
    "Responses, web search first": {
        "output": [
            {"type": "web_search_call", "status": "completed", "action": {"query": "q"}},
            ITEM,
        ]
    },
    "Responses, code interpreter and mcp first": {
        "output": [
            {"type": "code_interpreter_call", "code": "1", "outputs": []},
            {"type": "mcp_call", "name": "find", "arguments": "{}", "output": "1"},
            ITEM,
        ]
    },
    "Responses, reasoning last": {"output": [ITEM, REASONING]},
    "Responses, only the items": [REASONING, ITEM],
    "Anthropic": {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": ANSWER}],
    },
    "Anthropic, thinking first": {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "text", "text": ANSWER},
        ],
    },
    "Anthropic, a search of the server's": {
        "content": [
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
            {"type": "text", "text": ANSWER},
        ]
    },
    "Anthropic, blocks only": [{"type": "text", "text": ANSWER}],
    "Anthropic, completion": {"completion": ANSWER, "stop_reason": "stop_sequence"},
    "Gemini": {"candidates": [{"content": {"role": "model", "parts": [{"text": ANSWER}]}}]},
    "Gemini, a thought first": {
        "candidates": [
            {"content": {"parts": [{"text": "Hm.", "thought": True}, {"text": ANSWER}]}, "index": 0}
        ],
        "usageMetadata": {},
    },
    "Gemini, nested": {"response": {"candidates": [{"content": {"parts": [{"text": ANSWER}]}}]}},
    "Bedrock converse": {
        "output": {"message": {"role": "assistant", "content": [{"text": ANSWER}]}},
        "stopReason": "end_turn",
    },
    "Bedrock converse, reasoning first": {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm."}}},
                    {"text": ANSWER},
                ],
            }
        }
    },
    "Bedrock Titan": {"results": [{"outputText": ANSWER, "completionReason": "FINISH"}]},
    "Bedrock Llama": {"generation": ANSWER, "stop_reason": "stop"},
    "Ollama chat": {"model": "m", "message": ASSISTANT, "done": True},
    "Ollama generate": {"model": "m", "response": ANSWER, "done": True},
    "Cohere v1": {"text": ANSWER, "generation_id": "g", "finish_reason": "COMPLETE"},
    "Cohere v2": {"message": {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}},
    "Hugging Face": [{"generated_text": ANSWER}],
    "LangChain, model_dump": {"type": "ai", "content": ANSWER, "response_metadata": {"a": 1}},
    "LangChain, message_to_dict": {"type": "ai", "data": {"content": ANSWER, "type": "ai"}},
    "LangChain, dumpd": dumped("AIMessage", content=ANSWER),
    "LangChain, a chunk": dumped("AIMessageChunk", content=[{"type": "text", "text": ANSWER}]),
    "LangChain, type AIMessage": {"type": "AIMessage", "content": ANSWER},
    "LangChain, LLMResult": {
        "generations": [[{"text": ANSWER, "message": dumped("AIMessage", content=ANSWER)}]],
        "llm_output": {},
    },
    "LangGraph's state": {"messages": [USER, {"type": "ai", "content": ANSWER}]},
    "a chain's output": {"output": ANSWER, "intermediate_steps": []},
    "answer": {"answer": ANSWER, "sources": []},
    "OTel parts": [{"role": "assistant", "parts": [{"type": "text", "content": ANSWER}]}],
    "Vercel AI SDK": {"text": ANSWER, "toolCalls": [], "finishReason": "stop"},
    "Vercel AI SDK, UI message": {
        "role": "assistant",
        "parts": [{"type": "step-start"}, {"type": "text", "text": ANSWER, "state": "done"}],
    },
    "PydanticAI": {"kind": "response", "parts": [{"part_kind": "text", "content": ANSWER}]},
    "LlamaIndex": {
        "message": {"role": "assistant", "blocks": [{"block_type": "text", "text": ANSWER}]}
    },
    "ShareGPT": [{"from": "gpt", "value": ANSWER}],
}

#: Nothing was said to the user, so nothing may be shown as the answer.
NOT_ANSWERED: Final[dict[str, Any]] = {
    "nothing": None,
    "an empty string": "",
    "an empty answer": {"choices": [{"message": {"role": "assistant", "content": ""}}]},
    "content null with tool calls": {
        "choices": [
            {
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c", "function": {"name": "find", "arguments": "{}"}}],
                }
            }
        ]
    },
    "words beside a tool call": {
        "role": "assistant",
        "content": [{"type": "text", "text": "Let me look."}, {"type": "tool_use", "name": "f"}],
    },
    "Responses, words and then a call": {
        "output": [ITEM, {"type": "function_call", "name": "find", "arguments": "{}"}]
    },
    "Responses, only reasoning": {"output": [REASONING]},
    "Gemini, a call": {
        "candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}]}}]
    },
    "Gemini, blocked": {"candidates": [{"finishReason": "SAFETY"}]},
    "Bedrock, a call": {
        "output": {"message": {"role": "assistant", "content": [{"toolUse": {"name": "f"}}]}}
    },
    "Vercel AI SDK, a call": {"text": "", "toolCalls": [{"toolName": "f", "input": {}}]},
    "a state that ends with the user": {"messages": [ASSISTANT, USER]},
}

#: Nobody said anything, so nothing may name the session.
NOT_ASKED: Final[dict[str, Any]] = {
    "nothing": None,
    "only a system prompt": {"messages": [SYSTEM]},
    "only a tool's result": {"messages": [{"role": "tool", "content": QUESTION}]},
    "only a tool's result as a block": {
        "messages": [{"role": "user", "content": [{"type": "tool_result", "content": QUESTION}]}]
    },
    "only the assistant": {"messages": [{"type": "ai", "content": ANSWER}]},
    "an unknown shape": {"x": {"y": 1}},
    "numbers": [1, 2],
}


def observed(**observation: Any) -> dict[str, Any]:
    return event("e1", **{f"observation__{key}": value for key, value in observation.items()})


def reading_of(**observation: Any) -> Any:
    given = observed(**observation)
    return read_event(StoredEvent("e1", json.dumps(given).encode()))


@pytest.mark.parametrize("shape", ASKED)
def test_a_question_is_read_alike_by_title_page_and_search(shape: str) -> None:
    given = ASKED[shape]
    assert first_words({"kind": "llm", "input": given}) == (SAID, QUESTION)
    assert asked(reading_of(input=given)) in (QUESTION, "And when?")
    assert QUESTION in text_of(observed(input=given))


@pytest.mark.parametrize("shape", ANSWERED)
def test_an_answer_is_read_alike_by_page_and_search(shape: str) -> None:
    given = ANSWERED[shape]
    assert answered(reading_of(output=given)) == ANSWER
    assert ANSWER in text_of(observed(output=given))


@pytest.mark.parametrize("shape", NOT_ANSWERED)
def test_no_answer_is_made_up(shape: str) -> None:
    assert answered(reading_of(output=NOT_ANSWERED[shape])) == ""


@pytest.mark.parametrize("shape", NOT_ASKED)
def test_no_question_is_made_up(shape: str) -> None:
    given = NOT_ASKED[shape]
    assert first_words({"kind": "llm", "input": given}) == (NONE, "")
    assert asked(reading_of(input=given)) == ""


def test_a_later_question_is_the_turns_and_the_first_the_sessions() -> None:
    given = {"messages": [USER, ASSISTANT, {"role": "user", "content": "And when?"}]}
    assert first_words({"kind": "llm", "input": given}) == (SAID, QUESTION)
    assert asked(reading_of(input=given)) == "And when?"


def test_a_failed_call_answers_nothing() -> None:
    assert answered(reading_of(output=ANSWER, error={"type": "Timeout"})) == ""


def test_list_and_page_of_a_server_show_every_shape(server: Wire) -> None:
    rows = {f"in {name}": (given, ANSWER) for name, given in ASKED.items()}
    rows |= {f"out {name}": (QUESTION, given) for name, given in ANSWERED.items()}
    events = [
        event(f"e{n}", session_id=name, observation__input=given, observation__output=output)
        for n, (name, (given, output)) in enumerate(rows.items())
    ]
    assert server.send(events).json["rejected"] == []
    titles = {}
    page = server.get("/api/v1/sessions", limit=200).json
    for summary in page["items"]:
        titles[summary["session_id"]] = summary["title"]
    assert page["next"] is None
    assert titles == dict.fromkeys(rows, QUESTION)
    for name in rows:
        (turn,) = server.get("/session.json", app="support-bot", id=name).json["turns"]
        assert (name, turn["answered"]) == (name, ANSWER)
