"""Makes the compression dictionary of the store: the shape of events, and no user's text.

Run: python bench/train_shapes.py OUT.zdict

Samples are events whose words are those of this project's own documentation. A dictionary that has
landed is never made again: what it compressed needs its very bytes. A better one gets a new name
and a new codec.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path
from typing import Any

import orjson
import zstandard

SIZE = 24 * 1024
SAMPLES = 4_000
ROOT = Path(__file__).parent.parent


def main() -> None:
    chance = random.Random(1)
    words = read_words()
    samples = [orjson.dumps(event(chance, words)) for _ in range(SAMPLES)]
    samples += [
        orjson.dumps(message(chance, words, role))
        for role in ("system", "user", "assistant", "tool") * 200
    ]
    dictionary = zstandard.train_dictionary(SIZE, samples, level=3, threads=1)
    Path(sys.argv[1]).write_bytes(dictionary.as_bytes())
    print(len(dictionary.as_bytes()), "bytes")


def read_words() -> list[str]:
    text = " ".join(path.read_text() for path in sorted((ROOT / "docs").rglob("*.md")))
    return re.findall(r"[A-Za-z][a-z']*[.,]?", text)


def some(chance: random.Random, words: list[str], least: int, most: int) -> str:
    start = chance.randrange(len(words) - most)
    return " ".join(words[start : start + chance.randint(least, most)])


def hexadecimal(chance: random.Random) -> str:
    return f"{chance.getrandbits(128):032x}"


def message(chance: random.Random, words: list[str], role: str) -> dict[str, Any]:
    made: dict[str, Any] = {"role": role, "content": some(chance, words, 5, 80)}
    if role == "assistant" and chance.random() < 0.5:
        arguments = orjson.dumps({"query": some(chance, words, 1, 6)}).decode()
        made["tool_calls"] = [
            {
                "id": f"call_{chance.getrandbits(64):x}",
                "type": "function",
                "function": {"name": "search", "arguments": arguments},
            }
        ]
    if role == "tool":
        made |= {"tool_call_id": f"call_{chance.getrandbits(64):x}", "name": "search"}
    return made


def event(chance: random.Random, words: list[str]) -> dict[str, Any]:
    kind = chance.choice(("llm", "llm", "tool", "tool", "retrieval"))
    number = chance.randrange(100_000)
    return {
        "type": kind,
        "id": hexadecimal(chance),
        "created_at": f"202{chance.randrange(6, 10)}-{chance.randint(1, 12):02}-"
        f"{chance.randint(1, 28):02}T{chance.randrange(24):02}:{chance.randrange(60):02}:"
        f"{chance.randrange(60):02}.{chance.randrange(10**6):06}Z",
        "app": chance.choice(("support-bot", "assistant", "agent", "chat", "search")),
        "session_id": chance.choice(("thread_", "session_", "")) + hexadecimal(chance)[:16],
        "interaction_id": chance.choice((None, f"turn-{number % 20}", f"interaction_{number}")),
        "tags": chance.choice(([], ["production"], ["langchain"], ["production", "beta"])),
        "context": {
            "user_id": f"user_{number}",
            "workspace_id": f"ws_{number % 1000}",
            "environment": chance.choice(("prod", "production", "staging", "dev")),
            "release": f"1.{number % 40}.{number % 7}",
        },
        "observation": {"kind": kind, **observation(kind, chance, words)},
    }


def observation(kind: str, chance: random.Random, words: list[str]) -> dict[str, Any]:
    error = {"type": "TimeoutError", "message": some(chance, words, 3, 12)}
    metrics: dict[str, Any] = {"latency_ms": round(chance.lognormvariate(6, 1), 1)}
    made: dict[str, Any] = {
        "name": None,
        "started_at": None,
        "input": None,
        "output": None,
        "error": error if chance.random() < 0.05 else None,
        "metadata": {},
        "metrics": metrics,
    }
    if kind == "llm":
        roles = ("system", "user", "assistant", "tool")[: chance.randint(1, 4)]
        made["input"] = {"messages": [message(chance, words, role) for role in roles]}
        made["output"] = chance.choice(
            (
                {"text": some(chance, words, 5, 60)},
                message(chance, words, "assistant"),
                {"content": some(chance, words, 5, 60), "role": "assistant"},
            )
        )
        made["metadata"] = {"model": chance.choice(("gpt-5.4-mini", "gpt-5.4", "claude-sonnet-5")),
                            "provider": "openai"}  # fmt: skip
        metrics |= {"input_tokens": chance.randrange(5_000), "output_tokens": chance.randrange(900),
                    "total_tokens": 1, "cost_usd": round(chance.random() / 50, 6)}  # fmt: skip
    elif kind == "tool":
        made["name"] = chance.choice(("lookup_account", "search", "get_order", "send_email"))
        made["input"] = {"id": f"{chance.randrange(10**6)}", "query": some(chance, words, 1, 8)}
        made["output"] = {"status": "ok", "result": some(chance, words, 5, 60)}
        made["metadata"] = chance.choice(({}, {"service": "account-service", "attempt": 1}))
        metrics["http_status"] = 200
    else:
        made["input"] = {"query": some(chance, words, 2, 10)}
        made["output"] = {
            "documents": [
                {
                    "id": f"doc_{n}",
                    "title": some(chance, words, 2, 6),
                    "score": round(chance.random(), 2),
                    "content": some(chance, words, 20, 60),
                }
                for n in range(chance.randint(1, 4))
            ]
        }
        made["metadata"] = {"index": "support_articles"}
        metrics["documents_found"] = 3
    return made


if __name__ == "__main__":
    main()
