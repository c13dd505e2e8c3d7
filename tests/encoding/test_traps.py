"""Values that raise, block or record when they are asked anything: nothing of them is run."""

from __future__ import annotations

import time
from collections import UserString
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from unittest.mock import MagicMock, Mock

import orjson
import pydantic
import pydantic.v1
import pytest

from tests.encoding.values import (
    OF_TRAP_META_NAME,
    SPRUNG,
    TRAP_NAME,
    OfTrapMeta,
    Trap,
    observation_of,
    sprung,
    written,
)


def test_fault_46_an_object_that_raises_when_asked_anything_is_named() -> None:
    assert written({"a": Trap(), "b": [Trap()]}) == {"a": TRAP_NAME, "b": [TRAP_NAME]}


def test_fault_46_an_object_that_raises_is_a_key() -> None:
    class Key:
        __str__ = __repr__ = sprung

    assert list(written({Key(): 1, Key(): 2})) == [
        f"<{__name__}.{Key.__qualname__}>",
        f"<{__name__}.{Key.__qualname__}>#2",
    ]


def test_fault_46_a_class_that_raises_when_asked_anything_is_named() -> None:
    assert written([OfTrapMeta(), OfTrapMeta]) == [OF_TRAP_META_NAME] * 2


def test_fault_46_a_dataclass_that_hides_its_dict_is_not_asked_for_it() -> None:
    @dataclass
    class Hidden:
        x: int = 1
        __dict__ = property(sprung)  # type: ignore[assignment]

    assert written([Hidden()]) == [{}]


def test_fault_46_traps_everywhere_in_an_event() -> None:
    found = observation_of(
        name=Trap(), input=Trap(), output=[OfTrapMeta()], error=Trap(), metadata={"a": Trap()},
        metrics={"b": Trap()},
    )  # fmt: skip

    assert found["input"] == found["error"] == TRAP_NAME
    assert found["metadata"] == {"a": TRAP_NAME, "b": TRAP_NAME}


def test_fault_46_mocks_and_lazy_objects_are_named_and_untouched() -> None:
    class Lazy:
        @property
        def __class__(self) -> type:  # type: ignore[override]
            return sprung()  # type: ignore[no-any-return]

    mock = Mock()

    assert written([mock, Lazy()]) == ["<unittest.mock.Mock>", f"<{__name__}.{Lazy.__qualname__}>"]
    assert isinstance(written(MagicMock()), str)
    assert mock.mock_calls == []


def test_fault_46_an_exception_is_described_without_its_own_str() -> None:
    class Custom(Exception):
        __str__ = __repr__ = sprung
        args = property(sprung)

    looping = ValueError()
    looping.args = (looping, {"inner": looping})

    assert written(Custom("why", 3)) == {"type": "Custom", "message": "why, 3"}
    assert written(KeyError("k")) == {"type": "KeyError", "message": "'k'"}
    assert written(FileNotFoundError(2, "gone", "f"))["message"] == "[Errno 2] gone: 'f'"
    assert written(ValueError(Trap()))["message"] == TRAP_NAME
    assert "<builtins.ValueError>" in written(looping)["message"]


def test_fault_46_a_validation_error_does_not_print_what_it_refused() -> None:
    class Model(pydantic.BaseModel):
        x: int

    with pytest.raises(pydantic.ValidationError) as refused:
        Model(x=Trap())
    SPRUNG.clear()  # pydantic asked it

    assert written(refused.value) == {
        "type": "ValidationError",
        "message": "1 validation error(s) for Model",
    }


def test_fault_46_a_mapping_behind_a_proxy_is_not_asked() -> None:
    class Asked(Mapping):  # type: ignore[type-arg]
        __getitem__ = __iter__ = __len__ = keys = sprung  # type: ignore[assignment]

    assert written(MappingProxyType(Asked())) == "<builtins.mappingproxy>"


def test_fault_47_code_that_would_block_or_record_itself_is_not_run() -> None:
    class Blocking:
        def __repr__(self) -> str:
            time.sleep(3600)  # what must not be run
            return ""

        __str__ = __len__ = __iter__ = __getattr__ = __repr__  # type: ignore[assignment]

    begun = time.monotonic()

    assert written([Blocking(), UserString("x")])[0].endswith("Blocking>")
    assert time.monotonic() - begun < 60


def test_fault_47_a_fragment_of_json_given_by_the_host_is_not_trusted() -> None:
    assert written({"a": orjson.Fragment(b"{broken")}) == {"a": "<orjson.Fragment>"}
