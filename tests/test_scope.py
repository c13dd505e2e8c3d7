"""What an event inherits: tags in order without repeats, context merged, the inner one wins."""

from __future__ import annotations

import json
from typing import Any

import orjson

from sessionbat._scope import MAX_CONTEXT_BYTES, MAX_TAGS, Scope


def tags_of(scope: Scope) -> Any:
    return json.loads(orjson.dumps(scope.tags_json))


def context_of(scope: Scope) -> Any:
    return json.loads(orjson.dumps(scope.context_json))


class Unknown:
    def _refuse(self, *args: object) -> Any:
        raise AssertionError("an unknown class was asked")

    __class__ = property(_refuse)  # type: ignore[assignment]
    __bool__ = __len__ = __iter__ = __str__ = __repr__ = keys = __eq__ = _refuse  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


NAME = f"<{__name__}.Unknown>"


def test_tags_are_merged_in_order_without_repeats() -> None:
    scope = Scope("app").extended(["b", "a"]).within_session("s").extended(["c", "b"])

    assert tags_of(scope) == ["b", "a", "c"]


def test_context_is_merged_and_the_inner_one_wins() -> None:
    outer = Scope("app", context={"a": 1, "b": 1}).within_session("s")

    assert context_of(outer.extended(None, {"b": 2, "c": 3})) == {"a": 1, "b": 2, "c": 3}
    assert context_of(outer) == {"a": 1, "b": 1}


def test_a_scope_knows_session_and_interaction() -> None:
    scope = Scope("app").within_session("s").within_interaction("i").extended(["t"])

    assert (scope.app, scope.session_id, scope.interaction_id) == ("app", "s", "i")


def test_nothing_added_is_the_same_scope() -> None:
    scope = Scope("app")

    assert scope.extended(None, None) is scope


def test_what_is_not_added_to_is_not_encoded_again() -> None:
    scope = Scope("app", tags=["t"], context={"a": 1})

    inner = scope.within_session("s").within_interaction("i").extended(["u"])

    assert inner.context_json is scope.context_json


def test_a_context_changed_later_is_as_it_was() -> None:
    context = {"a": {"b": [1]}}
    scope = Scope("app", context=context)
    context["a"]["b"].append(2)

    assert context_of(scope) == {"a": {"b": [1]}}


def test_tags_of_every_kind_are_text() -> None:
    tags: Any = ["a", 1, True, None, {"k": 1}, Unknown(), "\ud800", "x" * 1000]

    found = tags_of(Scope("app", tags=tags))

    assert found[:6] == ["a", "1", "true", '{"k":1}', f'"{NAME}"'.strip('"'), "�"]
    assert len(found[6]) <= 256


def test_tags_that_are_no_list() -> None:
    assert tags_of(Scope("app", tags="one")) == ["one"]
    assert tags_of(Scope("app", tags=Unknown())) == [NAME]  # type: ignore[arg-type]
    assert tags_of(Scope("app", tags=(t for t in "ab"))) == ["<generator>"]


def test_too_many_tags_are_counted() -> None:
    found = tags_of(Scope("app", tags=[str(n) for n in range(500)]))

    assert len(found) == MAX_TAGS
    assert found[-1] == f"<{500 - MAX_TAGS + 1} more>"


def test_a_context_that_is_no_object() -> None:
    assert context_of(Scope("app").extended(None, Unknown())) == {"context": NAME}  # type: ignore[arg-type]
    assert context_of(Scope("app").extended(None, [1])) == {"context": [1]}  # type: ignore[arg-type]


def test_a_context_of_objects_is_converted() -> None:
    assert context_of(Scope("app", context={"a": Unknown(), 1: 10**40})) == {
        "a": NAME,
        "1": "1" + "0" * 40,
    }


def test_a_huge_context_is_cut_visibly() -> None:
    scope = Scope("app", context={"user_id": "u", "page": "x" * 10_000_000})

    assert len(orjson.dumps(scope.context_json)) <= MAX_CONTEXT_BYTES
    assert context_of(scope)["user_id"] == "u"
    assert context_of(scope)["page"].endswith(" characters]")
