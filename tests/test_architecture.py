"""Who may import whom: the rules of the house, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parent.parent / "src"
PACKAGE = SOURCE / "sessionbat"

STANDARD_LIBRARY_ONLY = {"_secret_names", "event", "accounting", "errors", "server.records"}

#: For each part of the SDK, what of the SDK it may import at module level. A package stands for
#: all that is in it.
MAY_IMPORT = {
    "__init__": {"_at_import", "_current", "_version", "accounting", "client", "errors"},
    "__main__": set(),
    "client": {"_interaction", "_session", "event", "transports"},
    "_session": {"_current", "_interaction"},
    "_interaction": {"_current", "event"},
    "_recorder": {
        "_encoding", "_host_log", "_measure", "_refusing", "_sampling", "_scope", "_timestamp",
        "accounting", "event", "transports",
    },
    "_refusing": set(),
    "_masking": {"_encoding", "_masking", "accounting", "errors"},
    "_host_log": set(),
    "_sampling": set(),
    "_scope": {"_encoding"},
    "_encoding": {"_encoding", "event"},
    "_clock": set(),
    "_async_flush": {"accounting"},
    "_timestamp": set(),
    "_measure": {"_clock"},
    "_at_import": set(),
    "_process_end": {"_at_import", "_clock"},
    "_current": {"_generators", "client"},
    "_generators": set(),
    "_pickling": {"_current", "_refusing", "_scope", "_settings", "client", "errors", "transports"},
    "_secret_names": set(),
    "_settings": {"errors", "event"},
    "_version": set(),
    "spooled": {"_delivery", "errors", "transports"},
    "accounting": set(),
    "errors": set(),
    "event": set(),
    "transports": {"accounting", "event"},
    "testing": {"client", "event", "testing", "transports"},
    "integrations": {
        "_clock", "_current", "_encoding", "_host_log", "_measure", "_process_end", "_timestamp",
        "event", "integrations",
    },
    "_otel": {"_otel", "event"},
    "langchain": {"_langchain", "client", "errors", "event", "integrations"},
    "_langchain": {"_langchain", "_secret_names", "event", "integrations"},
    "_delivery": {
        "_clock", "_delivery", "_encoding", "_host_log", "_otel", "_process_end", "_settings",
        "_version", "accounting",
    },
}  # fmt: skip

#: Inside the encoder, each imports those before it only.
ENCODING = (
    "cutting", "class_facts", "known_types", "exception_messages", "fields", "records",
    "by_class", "plain_values", "well_formed", "encoder", "feedback",
)  # fmt: skip

#: Imports inside functions, and why each is there.
LAZY = {
    ("_current", "client"): "client imports _current; outside any session there is a stand-in",
    ("client", "_async_flush"): "asyncio is loaded by those who have loaded it already",
    ("client", "_masking"): "loaded only by a client that masks",
    ("client", "_pickling"): "needed by pickle alone, and built upon client",
    ("transports", "_pickling"): "as client",
    ("client", "_recorder"): "the encoder is loaded by the first client, not by the import",
    ("client", "_refusing"): "outside any session alone",
    ("client", "_scope"): "as _recorder",
    ("client", "_settings"): "as _recorder",
    ("client", "langchain"): "an extra",
    ("_session", "_pickling"): "as client",
    ("_session", "langchain"): "as client",
    ("_interaction", "_pickling"): "as client",
    ("_interaction", "langchain"): "as client",
    ("transports", "_delivery"): "the HTTP client is loaded by the first transport that needs it",
    ("transports", "_settings"): "as _delivery",
    ("_delivery", "_delivery"): "spans are written by those who send them only",
}
RUNS_WHAT_IT_IMPORTS = {"cli", "__main__", "demo"}

#: For each part of the server, from the bottom up, what it imports: of the server only parts that
#: stand before it, of the SDK the definitions that both share.
SERVER: dict[str, set[str]] = {
    "records": set(),
    "settings": {"errors"},
    "background": {"errors"},
    "reading": {"event", "server.records"},
    "prices": {"errors", "server.reading"},
    "store": {
        "errors", "event", "server.background", "server.prices", "server.reading",
        "server.records",
    },
    "ops": {"_version", "errors", "server.background", "server.records", "server.store"},
    "web": {
        "_version", "errors", "event", "server.background", "server.ops", "server.reading",
        "server.records", "server.settings", "server.store",
    },
    "access": {
        "errors", "event", "server.background", "server.ops", "server.records",
        "server.settings", "server.store", "server.web",
    },
    "ingest": {
        "_otel", "_version", "errors", "event", "server.access", "server.background", "server.ops",
        "server.reading", "server.records", "server.settings", "server.store", "server.web",
    },
    "read_api": {"server.access", "server.records", "server.store", "server.web"},
    "pages": {
        "_otel", "errors", "event", "server.access", "server.ops", "server.reading",
        "server.records", "server.store", "server.web",
    },
    "app": {
        "errors", "server.access", "server.ingest", "server.ops", "server.pages",
        "server.read_api", "server.settings", "server.store", "server.web",
    },
    "serving": {
        "_version", "errors", "server.app", "server.ops", "server.settings", "server.web",
    },
}  # fmt: skip

LANGCHAIN = {"langchain", "_langchain"}

THIRD_PARTIES = {
    "orjson": {
        "_encoding", "_scope", "_masking", "server.app", "server.ingest", "server.read_api",
        "server.store", "server.web",
    },
    "urllib3": {"_delivery.posting"},
    "zstandard": {
        "_delivery.compression", "_importing.unpacking", "server.ingest", "server.store",
        "testing._fault_endpoint",
    },
    "langchain_core": {*LANGCHAIN, "demo"},
    "langgraph": {"demo"},
    "starlette": {
        "server.access", "server.app", "server.ingest", "server.pages", "server.read_api",
        "server.web",
    },
    "httptools": {"server.web.connection_limits"},
    "uvicorn": {"server.serving", "server.web.connection_limits"},
    "jinja2": {"server.pages"},
    "click": {"cli"},
    "pytest": {"testing._fixtures"},
    "rich": {"cli", "demo"},
}  # fmt: skip


#: Packages whose modules are imported by their names.
IMPORTED_FROM = (
    "sessionbat", "sessionbat._otel", "sessionbat.server", "sessionbat.server.pages",
    "sessionbat.server.pages.view",
)  # fmt: skip


class Import(NamedTuple):
    module: str
    name: str
    lazy: bool


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        dotted = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[dotted.removesuffix(".__init__") if dotted != "__init__" else dotted] = path
    return found


#: Those whose modules are imported by ``from``.
PACKAGES = {
    ".".join(("sessionbat", *path.parent.relative_to(PACKAGE).parts))
    for path in PACKAGE.rglob("__init__.py")
}


def imports_of(module: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body  # what stands in its ``else`` is real
        for inner in ast.walk(statement)
    }
    inside = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        lazy = id(node) in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, lazy)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module} imports relatively"
            if node.module in IMPORTED_FROM:
                for alias in node.names:
                    yield Import(module, f"{node.module}.{alias.name}", lazy)
            else:
                yield Import(module, node.module, lazy)


ALL = [found for module, path in sorted(modules().items()) for found in imports_of(module, path)]


def inner(name: str) -> str | None:
    """The module of ours that an import names, as in ``modules``."""
    return name.removeprefix("sessionbat.") if name.startswith("sessionbat.") else None


def belongs(module: str, parts: set[str]) -> bool:
    return any(module == part or module.startswith(part + ".") for part in parts)


def top(module: str) -> str:
    return module.partition(".")[0]


def test_the_scan_finds_modules_and_imports() -> None:
    assert {"client", "_delivery.worker", "server.app"} <= set(modules())
    assert Import("client", "sessionbat.transports", False) in ALL
    assert Import("client", "sessionbat._recorder", True) in ALL


def test_rule_1_shared_definitions_use_the_standard_library_only() -> None:
    bad = [
        found
        for found in ALL
        if found.module in STANDARD_LIBRARY_ONLY and top(found.name) not in sys.stdlib_module_names
    ]
    assert bad == []


def test_rule_1_the_mapper_of_telemetry_is_the_standard_library_and_the_event() -> None:
    ours = [found for found in ALL if belongs(found.module, {"_otel"})]
    bad = [
        found
        for found in ours
        if top(found.name) not in sys.stdlib_module_names
        and not belongs(inner(found.name) or "", {"_otel", "event"})
    ]
    assert ours and bad == []


def test_rule_2_an_event_goes_one_way() -> None:
    bad = []
    for found in ALL:
        target = inner(found.name)
        allowed = MAY_IMPORT.get(top(found.module))
        if target is None or allowed is None or found.lazy:
            continue
        if top(target) not in allowed:
            bad.append(found)
    assert bad == []


def test_rule_2_the_encoder_is_built_from_the_bottom_up() -> None:
    assert {f"_encoding.{name}" for name in ENCODING} | {"_encoding"} == {
        module for module in modules() if belongs(module, {"_encoding"})
    }
    bad = []
    for place, name in enumerate(ENCODING):
        below = {f"sessionbat._encoding.{other}" for other in ENCODING[:place]}
        for found in ALL:
            if found.module == f"_encoding.{name}" and belongs(
                inner(found.name) or "", {"_encoding"}
            ):
                bad += [found] if found.name not in below else []
    assert bad == []


def test_rule_2_what_uses_the_api_uses_it_as_a_stranger_would() -> None:
    public = {"client", "transports", "event", "errors", "accounting"}
    # Integrations stand on the kit, and the kit alone on what is not public.
    own = {
        "importing": {"_importing"},
        "_importing": {"_importing"},
        "langchain": {"_langchain", "integrations"},
        "_langchain": {"_langchain", "_secret_names", "integrations"},
    }
    bad = [
        found
        for found in ALL
        if top(found.module) in own
        and (target := inner(found.name)) is not None
        and top(target) not in public | own[top(found.module)]
    ]
    assert bad == []


def test_rule_2_what_is_not_public_reaches_integrations_through_the_kit() -> None:
    kit = {"integrations._kit", "integrations._book", "integrations._operation"}
    libraries = {module for module in modules() if module.startswith("integrations.")} - kit
    assert kit <= set(modules())
    bad = [
        found
        for found in ALL
        if belongs(found.module, LANGCHAIN | libraries)
        and belongs(inner(found.name) or "", {"integrations._book", "integrations._operation"})
    ]
    assert bad == []


def test_lazy_imports_are_the_known_exceptions() -> None:
    lazy = {
        (top(found.module), top(target))
        for found in ALL
        if found.lazy
        and (target := inner(found.name)) is not None
        and top(found.module) not in RUNS_WHAT_IT_IMPORTS | {"server"}
        and not found.module.startswith("__init__")
    }
    assert lazy <= set(LAZY)


def test_rule_3_the_sdk_never_imports_the_server() -> None:
    bad = [
        found
        for found in ALL
        if (inner(found.name) or "").startswith("server")
        and not found.module.startswith("server")
        and top(found.module) not in ("cli", "demo")
    ]
    assert bad == []


def test_rule_3_the_command_line_loads_the_server_when_it_runs_it() -> None:
    bad = [
        found
        for found in ALL
        if top(found.module) == "cli" and (inner(found.name) or "").startswith("server")
    ]
    assert [found for found in bad if not found.lazy] == []


READERS_OF_SPANS = {"server.ingest.otlp", "server.ingest.switching"}


def test_rule_3_the_server_takes_event_and_errors_from_the_sdk() -> None:
    bad = [
        found
        for found in ALL
        if found.module.startswith("server")
        and (target := inner(found.name)) is not None
        and not target.startswith("server")
        and target not in ("event", "errors", "_version")
        and not (belongs(found.module, READERS_OF_SPANS) and belongs(target, {"_otel"}))
        and target != "_otel.content_switches"
    ]
    assert bad == []


def test_rule_3_a_server_that_gets_no_spans_loads_no_mapper() -> None:
    code = "import sys, sessionbat.server.app; print(*[m for m in sys.modules if '_otel.' in m])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["sessionbat._otel.content_switches"]  # for the pages


def test_rule_4_only_one_place_names_a_database() -> None:
    named = {
        found.module
        for found in ALL
        if belongs(inner(found.name) or "", {"server.store.sqlite"}) or found.name == "sqlite3"
    }
    assert {m for m in named if not m.startswith("server.store")} == set()


def part_of(module: str) -> str:
    """The part of the house in which a module is: of the server, its package or file."""
    first, _, rest = module.partition(".")
    return f"server.{top(rest)}" if first == "server" and rest else first


def test_rule_4_each_part_of_the_server_imports_what_is_said_and_nothing_else() -> None:
    imported: dict[str, set[str]] = {part: set() for part in SERVER}
    for found in ALL:
        target = inner(found.name)
        if target is not None and found.module.startswith("server."):
            part, other = part_of(found.module), part_of(target)
            if other != part:
                imported[part.removeprefix("server.")].add(other)
    assert imported == SERVER


def test_rule_4_the_server_is_built_from_the_bottom_up() -> None:
    assert set(SERVER) == {
        part_of(module).removeprefix("server.")
        for module in modules()
        if belongs(module, {"server"})
    } - {"server"}
    order = [f"server.{part}" for part in SERVER]
    bad = [
        (part, other)
        for place, part in enumerate(SERVER)
        for other in SERVER[part]
        if other.startswith("server.") and other not in order[:place]
    ]
    assert bad == []


def test_rule_4_the_reader_of_events_is_the_standard_library_and_the_event() -> None:
    readers = [found for found in ALL if belongs(found.module, {"server.reading"})]
    bad = [
        found
        for found in readers
        if top(found.name) not in sys.stdlib_module_names
        and not belongs(inner(found.name) or "", {"server.reading", "server.records", "event"})
    ]
    assert readers and bad == []
    used_by = {
        part_of(found.module)
        for found in ALL
        if belongs(inner(found.name) or "", {"server.reading"})
    }
    assert {"server.pages", "server.store"} <= used_by


def test_no_permission_is_unused() -> None:
    used = {
        (top(found.module), top(target))
        for found in ALL
        if (target := inner(found.name)) is not None
    }
    unused = [
        (part, other)
        for part, others in MAY_IMPORT.items()
        for other in others
        if (part, other) not in used
    ]
    parties = [
        (party, place)
        for party, places in THIRD_PARTIES.items()
        for place in places
        if not any(top(f.name) == party and belongs(f.module, {place}) for f in ALL)
    ]
    lazy = {(top(found.module), top(inner(found.name) or "")) for found in ALL if found.lazy}
    assert (unused, parties, set(LAZY) - lazy) == ([], [], set())


@pytest.mark.parametrize("party", sorted(THIRD_PARTIES))
def test_rule_5_third_parties_stay_where_they_belong(party: str) -> None:
    bad = [
        found
        for found in ALL
        if top(found.name) == party and not belongs(found.module, THIRD_PARTIES[party])
    ]
    assert bad == []


def test_rule_5_there_are_no_other_third_parties() -> None:
    known = sys.stdlib_module_names | set(THIRD_PARTIES) | {"sessionbat"}
    assert [found for found in ALL if top(found.name) not in known] == []


def test_rule_6_nobody_imports_the_package_itself() -> None:
    assert [found for found in ALL if found.name == "sessionbat"] == []


def test_there_is_no_import_cycle() -> None:
    graph: dict[str, set[str]] = {}
    names = set(modules())
    for found in ALL:
        target = inner(found.name)
        while target and target not in names:
            target = target.rpartition(".")[0]
        if target and not found.lazy and target != found.module:
            graph.setdefault(found.module, set()).add(target)

    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        for following in graph.get(start, ()):
            if following == goal:
                return True
            if following not in seen:
                seen.add(following)
                if reaches(following, goal, seen):
                    return True
        return False

    assert [module for module in graph if reaches(module, module, set())] == []
