"""`docs/limits.md` and `docs/security.md` are true: numbers, names of constants, names of tests."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "sessionbat"

#: In which a limit may be written, and what one of it is.
UNITS = {
    "": 1, "s": 1, "µs": 1, "days": 86_400,
    "KiB": 1024, "MiB": 1024**2, "Ki": 1024, "Mi": 1024**2,
}  # fmt: skip

#: Limits that no row has, and why.
NOT_IN_THE_TABLE = {
    "caches, which forget": {
        "_otel/attributes.py:_MAX_KEPT",
        "_otel/attributes.py:_MAX_KEPT_ATTRIBUTES",
        "_otel/attributes.py:_MAX_SHAPES",
        "server/ingest/otlp/protobuf.py:_MAX_KEYS",
        "server/store/sqlite/payloads.py:_MAX_CACHED_BYTES",
        "server/store/sqlite/recent_rows.py:_MAX_BYTES",
        "server/store/sqlite/recent_rows.py:_MAX_ROWS",
        "server/store/sqlite/known_rows.py:_MAX_ENTRIES",
        "_langchain/runs.py:MAX_ENDED_PER_TREE",
    },
    "how work is cut into steps, within limits that the table has": {
        "_delivery/keeper.py:MAX_GROUP_BYTES",
        "server/store/sqlite/many_rows.py:_MAX_VALUES",
        "server/store/sqlite/span_rows.py:_FORGOTTEN_AT_ONCE",
        "server/ingest/decoder_thread.py:_AT_ONCE",
        "server/reading/folding.py:_AT_ONCE",
        "server/store/query_terms.py:_AT_ONCE",
        "server/store/sqlite/connections.py:_MAX_READERS",
        "server/store/sqlite/writer.py:_LONGEST_PAUSE",
        "_importing/unpacking.py:_MAX_UNPACKED",
        "_encoding/records.py:_MAX_MERGED",
        "_masking/slow_patterns.py:_MAX_OWN_PROBES",
    },
    "how far something is looked into or looked for; beyond it stays, or goes, as a whole": {
        "_encoding/known_types.py:_MAX_COLUMNS",
        "_encoding/known_types.py:_MAX_NUMBER_CHARACTERS",
        "_encoding/known_types.py:_MAX_DECIMAL_BITS",
        "_encoding/known_types.py:_MAX_HEX_BITS",
        "_encoding/exception_messages.py:_MAX_ARGUMENTS",
        "_encoding/class_facts.py:_MAX_NAME_CHARACTERS",
        "_encoding/encoder.py:_MAX_BARE_CHARACTERS",
        "_encoding/plain_values.py:_MAX_KEY_PARTS",
        "_encoding/well_formed.py:_MAX_HASHED_CHARACTERS",
        "_generators.py:_MAX_FRAMES",
        "_langchain/media.py:_MAX_DEPTH",
        "_langchain/schemas.py:_MAX_NESTED",
        "_langchain/tokens.py:_MAX_NESTED",
        "_langchain/tools.py:_MAX_DEPTH",
        "_langchain/tools.py:_MAX_LOOKED_AT",
        "_langchain/tools.py:_MAX_LOOKED_THROUGH",
        "_masking/json_text.py:_MAX_DIGITS",
        "_masking/key_names.py:_MAX_KEY_CHARACTERS",
        "_masking/rules.py:_MAX_DEPTH",
        "_secret_names.py:_MAX_DEPTH",
        "_secret_names.py:_MAX_SEARCHED_CHARACTERS",
        "_delivery/oversize.py:MAX_CUT_BYTES",
        "_delivery/progress.py:MAX_BYTES",
        "_delivery/delivering.py:MAX_DOUBTS",
        "_delivery/posting.py:MAX_SENDERS",
        "_delivery/retry.py:LONGEST_BACKOFF_S",
        "spooled.py:MAX_ABOUT_BYTES",
        "cli/deleting.py:MAX_USER_CHARACTERS",
        "cli/importing.py:MAX_LISTED_BAD_LINES",
        "_otel/attributes.py:MAX_CHOSEN_FROM",
        "_otel/attributes.py:MAX_CHOSEN_NAME",
        "_otel/attributes.py:MAX_NAME",
        "_otel/attributes.py:MAX_STEPS",
        "_otel/chat.py:_MAX_NESTING",
        "_otel/duplicates.py:MAX_COMPARED",
        "_otel/event_messages.py:MAX_EVENTS",
        "_otel/host_metadata.py:_MAX_METADATA",
        "_otel/host_metadata.py:_MAX_TAGS",
        "_otel/joining.py:MAX_LOGGED",
        "_otel/langsmith_ids.py:_MAX_ORDER",
        "_otel/mapping.py:MAX_OTHER_ATTRIBUTES",
        "_otel/mapping.py:MAX_OTHER_CHARACTERS",
        "_otel/placing.py:MAX_SPAN_IDS",
        "_otel/times.py:_MAX_CHARACTERS",
        "_otel/values.py:MAX_REPR_CHARACTERS",
        "server/access/login_cookie.py:_MAX_SKEW_S",
        "server/reading/title.py:MAX_CHARACTERS",
        "server/reading/figures.py:_MAX_COST_USD",
        "server/reading/figures.py:_MAX_TOKENS",
        "server/reading/usage.py:_MAX_TOKENS",
        "server/store/query_terms.py:_MAX_DEPTH",
        "server/store/sqlite/check.py:_MAX_LINES",
        "server/ingest/otlp/answers.py:MAX_NAMED",
        "server/store/sqlite/span_rows.py:_MAX_SHARING",
    },
    "what an algorithm or a format of others may take": {
        "server/ingest/body.py:_ZSTD_MAX_WINDOW",
        "_importing/unpacking.py:_ZSTD_MAX_WINDOW",
    },
}


class Row(NamedTuple):
    counted: str
    most: str
    #: The slug of its refusal, if that is one.
    slug: str
    constant: str
    #: The file that enforces it, where the constant only is its default.
    enforced_in: str
    tests: str


def rows() -> list[Row]:
    found = []
    for line in (DOCS / "limits.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 7 and ".py:" in cells[5]:
            constant, _, enforced_in = cells[5].partition(", in ")
            refusal = re.search(r"\b[45]\d\d `([\w-]+)`", cells[3])
            slug = refusal[1] if refusal else ""
            names = constant.strip("`"), enforced_in.strip("`")
            found.append(Row(cells[1], cells[2], slug, *names, cells[6]))
    return found


def value_of(constant: str) -> Any:
    """Give what ``server/settings.py:Settings.max_body_bytes`` names: a constant, or a default."""
    path, _, name = constant.partition(":")
    value: Any = importlib.import_module(
        "sessionbat." + path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    )
    name, _, parameter = name.removesuffix(")").partition("(")
    for part in name.split("."):
        fields = getattr(value, "__dataclass_fields__", {})
        is_class = inspect.isclass(value) and part in fields
        value = fields[part].default if is_class else getattr(value, part)
    return inspect.signature(value).parameters[parameter].default if parameter else value


def read_number(text: str) -> float | None:
    match = re.fullmatch(r"([\d,.]+) ?(\S*)", text)
    assert match is not None, text
    return float(match[1].replace(",", "")) * UNITS[match[2]]


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.constant}")
def test_each_limit_of_the_table_is_the_codes(row: Row) -> None:
    value = value_of(row.constant)
    assert value is None if row.most == "any" else value == read_number(row.most)
    assert row.tests.count("::") >= 1


@pytest.mark.parametrize(
    "row",
    [row for row in rows() if ":Settings." in row.constant],
    ids=lambda row: f"{row.constant}",
)
def test_a_limit_that_is_a_setting_names_the_file_that_enforces_it(row: Row) -> None:
    enforcing = (PACKAGE / row.enforced_in).read_text()
    assert f'"{row.slug}"' in enforcing or not row.slug


@cache
def limits_in_the_code() -> set[str]:
    """Find constants whose name says that they bound something."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        where = path.relative_to(PACKAGE)
        if where.parts[0] == "demo":
            continue
        for node in ast.parse(path.read_text()).body:
            targets = (
                [node.target]
                if isinstance(node, ast.AnnAssign)
                else node.targets
                if isinstance(node, ast.Assign)
                else []
            )
            for target in targets:
                name = target.id if isinstance(target, ast.Name) else ""
                if re.search(r"(^|_)(MAX|LONGEST)_|_AT_ONCE$", name):
                    found.add(f"{where.as_posix()}:{name}")
    from sessionbat.server.settings import Settings

    fields = (name for name in Settings.__dataclass_fields__ if re.match(r"max_|\w+_timeout", name))
    return found | {f"server/settings.py:Settings.{name}" for name in fields}


def test_each_limit_of_the_code_is_in_the_table_or_said_why_not() -> None:
    known = {row.constant for row in rows()}
    others = {constant for constants in NOT_IN_THE_TABLE.values() for constant in constants}
    assert limits_in_the_code() - known - others == set()
    assert others - limits_in_the_code() == set(), "gone"
    assert known & others == set()


def test_no_limit_has_two_rows() -> None:
    constants = [row.constant for row in rows()]
    assert len(constants) > 80
    assert sorted(constants) == sorted(set(constants))


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_each_test_that_a_page_names_by_file_exists(page: Path) -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text()))
    missing = {
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).exists() or f"def {name}(" not in (ROOT / file).read_text()
    }
    assert missing == set()


def test_each_promise_of_security_names_its_test() -> None:
    text = (DOCS / "security.md").read_text()
    promises = text.partition("## Promised")[2].partition("## Not promised")[0]
    lines = [line for line in promises.splitlines() if line.startswith("| ")]
    bodies = [line for line in lines if not re.match(r"\| (promise|what) ", line)]
    assert len(bodies) > 20
    assert [line for line in bodies if "::test_" not in line] == []
