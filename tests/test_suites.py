"""How the tests are laid out: as the package is, a suite a subject, waiting for conditions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "src" / "sessionbat"

LONGEST = 500

#: Directories that mirror no package, and why each is there.
OF_THE_WHOLE = {
    "attack": "one app's client does its worst while another's is measured",
    "contract": "what every implementation of a protocol promises, each run over all of them",
    "faults": "rows 1 to 60 of what can go wrong between a host and its endpoint",
    "integration": "the real LangChain, against langchain.py, _langchain and integrations",
    "switching": "other services' SDKs, sending to this server by their environment alone",
    "world": "other people's tools that hosts run beside this package",
}

FILES = sorted(path for path in TESTS.rglob("*.py") if "__pycache__" not in path.parts)
DIRECTORIES = sorted({path.parent.relative_to(TESTS) for path in FILES} - {Path()})

#: A wait for a time. Yielding to the event loop, ``sleep(0)``, is none.
SLEEP = re.compile(r"\bsleep\((?!0\))")


def is_mirrored(directory: Path) -> bool:
    """Whether a directory of tests has its package; private ones are mirrored without the mark."""
    first, *rest = directory.parts
    return any(PACKAGE.joinpath(name, *rest).is_dir() for name in (first, f"_{first}"))


def unexplained_sleeps(text: str) -> list[str]:
    """Lines that sleep and say nowhere, on themselves or just above, why no condition will do."""
    lines = text.splitlines()
    return [
        line.strip()
        for before, line in zip(["", *lines], lines, strict=False)
        if SLEEP.search(line) and "#" not in line and not before.strip().startswith("#")
    ]


def test_the_test_sees_the_suites() -> None:
    assert {Path("server/store/sqlite"), Path("delivery"), Path("encoding")} <= set(DIRECTORIES)
    assert len(FILES) > 200


@pytest.mark.parametrize("directory", DIRECTORIES, ids=str)
def test_each_directory_of_tests_has_its_package(directory: Path) -> None:
    if directory.parts[0] in OF_THE_WHOLE:
        assert not is_mirrored(directory), "a package now: take it out of OF_THE_WHOLE"
    else:
        assert is_mirrored(directory), "no such package: move it, or say in OF_THE_WHOLE why"


def test_each_package_of_the_server_has_its_tests() -> None:
    """Only `pages/view` has none of its own: it is tested by what stands on the pages."""
    packages = {
        path.parent.relative_to(PACKAGE)
        for path in (PACKAGE / "server").rglob("__init__.py")
        if path.parent != PACKAGE / "server"
    }
    assert packages - set(DIRECTORIES) == {Path("server/pages/view")}


@pytest.mark.parametrize("directory", [Path(), *DIRECTORIES], ids=str)
def test_each_directory_of_tests_is_a_package(directory: Path) -> None:
    """So that two of them may have a suite of one name."""
    assert (TESTS / directory / "__init__.py").exists()


def test_no_suite_is_longer_than_it_may_be() -> None:
    lengths = {str(path.relative_to(TESTS)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_each_sleep_says_why_no_condition_will_do() -> None:
    found = {
        str(path.relative_to(TESTS)): sleeps
        for path in FILES
        if path != Path(__file__) and (sleeps := unexplained_sleeps(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("time.sleep(0.2)", True),
        ("await asyncio.sleep(delay)", True),
        ("from time import sleep\nsleep(1)", True),
        ('code = "record(1)\\ntime.sleep(0.3)"', True),
        ("# why\n\ntime.sleep(0.2)", True),
        ("time.sleep(0.2)  # the moment of death", False),
        ("# longer than the delay\ntime.sleep(0.2)", False),
        ("await asyncio.sleep(0)", False),
        ("eventually(lambda: done)", False),
    ],
)
def test_a_sleep_without_a_reason_is_found(text: str, is_told: bool) -> None:
    assert bool(unexplained_sleeps(text)) == is_told
