"""Bodies of LangSmith's protocol become parts. Called in the decoder threads."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple

from sessionbat._otel.langsmith_feedback import langsmith_feedback
from sessionbat._otel.langsmith_ids import is_uuid
from sessionbat._otel.langsmith_runs import run_parts
from sessionbat.server.ingest.body import Body, Decoded, check_values
from sessionbat.server.ingest.switching.multipart import FormPart, form_parts
from sessionbat.server.ingest.switching.received import Taking, begin, check_count, json_of
from sessionbat.server.ingest.switching.recent_apps import RecentApps
from sessionbat.server.ingest.value_limits import MAX_VALUES, count_roughly
from sessionbat.server.settings import Settings
from sessionbat.server.web.refusal import Refused

#: Parts of one run: itself and its fields; attachments beyond these are few.
PARTS_OF_A_RUN: Final = 8
_FIELDS: Final = frozenset({"inputs", "outputs", "events", "extra", "error", "serialized"})
_READ: Final = _FIELDS | {""}
_RUNS: Final = ("post", "patch")
#: Attachments: their names, and their contents, which may be pictures.
_LEFT_OUT: Final = "attachment."
_NO_NAME: Final = "the name of a part is post.ID, patch.ID or feedback.ID, and .FIELD"

Run = dict[str, Any]


class LangSmithDecoding:
    """Decodes the bodies; remembers under which app a trace was stored."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._apps = RecentApps()

    def batch(self, body: Body, *, received_at_us: int) -> Decoded:
        """Decode ``{"post": [...], "patch": [...]}``."""
        text, taking = begin(body, self._settings, received_at_us)
        given = json_of(text)
        runs = [
            (f"{kind}[{place}]", run)
            for kind in _RUNS
            for place, run in enumerate(_listed(given, kind))
        ]
        check_count(len(runs), self._settings, "runs")
        for at, run in runs:
            self._take_run(taking, at, run)
        return taking.decoded

    def single(self, body: Body, *, received_at_us: int, run_id: str | None = None) -> Decoded:
        """Decode one run; its id may be in the address."""
        text, taking = begin(body, self._settings, received_at_us, is_single=True)
        run = json_of(text)
        if run_id is not None and isinstance(run, dict):
            run = {**run, "id": run_id}
        self._take_run(taking, "run", run)
        return taking.decoded

    def feedback(self, body: Body, *, received_at_us: int) -> Decoded:
        """Decode one piece of feedback."""
        text, taking = begin(body, self._settings, received_at_us, is_single=True)
        self._take_feedback(taking, "feedback", json_of(text))
        return taking.decoded

    def multipart(self, body: Body, *, received_at_us: int, boundary: bytes) -> Decoded:
        """Decode runs whose fields are parts of a form."""
        text, taking = begin(body, self._settings, received_at_us)
        most = PARTS_OF_A_RUN * self._settings.max_body_events
        runs: dict[tuple[str, str], Run] = {}
        for part, name in self._named(taking, form_parts(text, boundary, most)):
            run = runs.setdefault((name.kind, name.id), {})
            taking.take_text(part.name[:80], part.content, partial(_put, run, name.field))
        check_count(len(runs), self._settings, "runs")
        for (kind, id_), run in runs.items():
            if not run:
                continue  # rejected already
            if kind == "feedback":
                self._take_feedback(taking, f"feedback.{id_}"[:80], run)
            else:
                self._take_run(taking, f"{kind}.{id_}"[:80], {"id": id_, **run})
        return taking.decoded

    def _named(
        self, taking: Taking, parts: Iterable[FormPart]
    ) -> Iterable[tuple[FormPart, _Named]]:
        """Choose the parts that are read, and count their values before any is."""
        chosen = []
        for part in parts:
            name = _Named.of(part)
            if name is not None:
                chosen.append((part, name))
            elif not part.name.startswith(_LEFT_OUT):
                taking.reject(part.name[:80], "bad-event", _NO_NAME)
        contents = [part.content for part, _ in chosen]
        if sum(map(count_roughly, contents)) > MAX_VALUES:
            check_values(contents)
        return [(part, name) for part, name in chosen if name.field in _READ]

    def _take_run(self, taking: Taking, at: str, run: Any) -> None:
        parts = run_parts(run) if isinstance(run, dict) else ()
        if not parts:
            taking.reject(at, "bad-event", "a run is an object with an id")
            return
        project = _text(run.get("session_name"))
        key = parts[0].key
        if project:
            self._apps.note((key.trace, key.span), project)
        taking.take(at, parts, project or self._apps.find(key.span, key.trace))

    def _take_feedback(self, taking: Taking, at: str, given: Any) -> None:
        part = langsmith_feedback(given) if isinstance(given, dict) else None
        if part is None:
            taking.reject(at, "bad-feedback", "feedback names the run or trace that it is about")
            return
        taking.take(at, (part,), self._apps.find(part.key.trace, part.facts.parent))


class _Named(NamedTuple):
    """What a part's name says: ``post.ID``, ``patch.ID.outputs``, ``feedback.ID``."""

    kind: str
    id: str
    field: str

    @classmethod
    def of(cls, part: FormPart) -> _Named | None:
        kind, _, rest = part.name.partition(".")
        if not rest or kind not in (*_RUNS, "feedback"):
            return None
        if kind == "feedback":
            return cls(kind, rest, "")
        id_, _, field = rest.partition(".")
        if is_uuid(id_):
            return cls(kind, id_, field)
        id_, _, field = rest.rpartition(".")  # an id of another form may have dots
        return cls(kind, id_, field) if id_ and field in _FIELDS else cls(kind, rest, "")


def _put(run: Run, field: str, value: Any) -> None:
    if field:
        run[field] = value
    elif isinstance(value, dict):
        run.update(value)
    else:
        raise Refused(422, "bad-event", "a run is an object with an id")


def _listed(given: Any, key: str) -> list[Any]:
    found = given.get(key) if isinstance(given, dict) else None
    return found if isinstance(found, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
