"""The documents are true of the code: settings, slugs, links, tests that they name."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from sessionbat import SessionBat
from sessionbat._otel.content_switches import SWITCHES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SOURCES = [p for p in (ROOT / "src").rglob("*.py") if "demo" not in p.parts]


def slugs_in_the_code() -> set[str]:
    text = "\n".join(path.read_text() for path in SOURCES)
    found = set(re.findall(r'slug="([a-z-]+)"', text))
    found |= set(re.findall(r'Refused\(\s*\d+,\s*"([a-z-]+)"', text))
    for pattern in (r'_drop\(\s*"([a-z-]+)"', r'_mend\(\s*"([a-z-]+)"', r'dropped\(\s*"([a-z-]+)"'):
        found |= set(re.findall(pattern, text))
    return found | set(re.findall(r'\[([a-z]+(?:-[a-z]+)+)\]"', text))


def documented_slugs() -> set[str]:
    return set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", (DOCS / "messages.md").read_text()))


def test_the_test_finds_slugs() -> None:
    assert {"no-api-key", "port-in-use", "spool-off", "worker-died"} <= slugs_in_the_code()


@pytest.mark.parametrize("slug", sorted(slugs_in_the_code()))
def test_every_slug_is_documented(slug: str) -> None:
    assert slug in documented_slugs()


def test_every_argument_of_the_client_is_documented() -> None:
    documented = (DOCS / "settings.md").read_text()
    for name in inspect.signature(SessionBat).parameters:
        assert f"`{name}`" in documented


def test_every_environment_variable_is_documented() -> None:
    names = {
        name for path in SOURCES for name in re.findall(r"SESSIONBAT_[A-Z_]+", path.read_text())
    }
    documented = "\n".join(path.read_text() for path in DOCS.rglob("*.md"))
    assert {name for name in names if name not in documented} == set()


def test_every_test_that_a_promise_names_exists() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    page = (DOCS / "delivery.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    assert named
    assert {name for name in named if f"def {name}(" not in tests} == set()
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", page))
    assert {name for name in files if not (ROOT / name).exists()} == set()


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_metric_is_documented() -> None:
    source = (ROOT / "src/sessionbat/server/ops/server_metrics.py").read_text()
    names = set(re.findall(r'"((?:sessionbat|process)_[a-z_]+)"', source))
    documented = re.findall(r"`(\w+)(?:\{\w+(?:,\w+)*\})?`", (DOCS / "serve.md").read_text())
    suffixes = {name for name in documented if name.startswith("_")}
    assert len(names) > 15
    assert {
        name
        for name in names
        if name not in documented and not any(name.endswith(suffix) for suffix in suffixes)
    } == set()


def test_every_decision_is_in_their_index() -> None:
    index = (DOCS / "decisions" / "README.md").read_text()
    assert [
        path.name
        for path in sorted((DOCS / "decisions").glob("0*.md"))
        if f"({path.name})" not in index
    ] == []


def test_every_switch_of_content_is_in_the_table_of_senders() -> None:
    table = (DOCS / "opentelemetry.md").read_text()
    named = re.findall(r"[A-Z]+(?:_[A-Z]+)+|\w+(?==True)|recordInputs", " ".join(SWITCHES.values()))
    names = {name for name in named if "HIDE" not in name}
    assert len(names) > 6
    assert {name for name in names if name not in table} == set()


@pytest.mark.parametrize("service", ["LangSmith", "Langfuse", "Phoenix"])
def test_the_page_on_switching_has_one_line_for_each_service(service: str) -> None:
    page = (DOCS / "switching.md").read_text()
    (line,) = re.findall(rf"^# {service}.*\nexport (.*)$", page, re.MULTILINE)
    values = dict(each.split("=", 1) for each in line.split())
    assert all(name.startswith(f"{service.upper()}_") for name in values)
    assert "http://127.0.0.1:8787" in line and "sbat_ingest_..." in values.values()


def test_every_address_that_the_page_on_switching_names_is_served(tmp_path: Path) -> None:
    from sessionbat.server.app import create_app
    from sessionbat.server.settings import Settings

    app = create_app(Settings(store_url=f"sqlite:///{tmp_path / 'store.db'}"))
    served = {re.sub(r"{\w+}", "{id}", route.path) for route in app.routes}  # type: ignore[attr-defined]
    page = (DOCS / "switching.md").read_text()
    (row,) = re.findall(r"^\| addresses \|(.*)$", page, re.MULTILINE)
    named = set(re.findall(r"`([^`]+)`", row))
    assert len(named) >= 12
    assert named - served == set()
