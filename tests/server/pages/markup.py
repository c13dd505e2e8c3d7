"""HTML as a browser would take it apart, as far as the tests of the pages ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its text, white space as the browser shows it outside <pre>."""
        return " ".join(self.raw_text.split())

    @property
    def raw_text(self) -> str:
        return "".join(c if isinstance(c, str) else c.raw_text for c in self.children)

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    def walk(self) -> list[Element]:
        inner = [each for c in self.children if isinstance(c, Element) for each in c.walk()]
        return [self, *inner]

    def all(self, tag: str = "", class_: str = "") -> list[Element]:
        return [
            e
            for e in self.walk()
            if (not tag or e.tag == tag) and (not class_ or class_ in e.classes)
        ]

    def link(self, text: str) -> str:
        """The address behind the first link of that text."""
        found = [e for e in self.all("a") if e.text == text]
        assert found, f"no link {text!r}"
        return found[0].attributes["href"]

    def one(self, tag: str = "", class_: str = "") -> Element:
        found = self.all(tag, class_)
        assert len(found) == 1, f"{len(found)} of <{tag} class={class_}>"
        return found[0]


class Document(Element):
    """A parsed page."""

    def __init__(self, html: str) -> None:
        super().__init__("", {})
        self.html = html
        parser = _Parser(self)
        parser.feed(html)
        parser.close()
        alternates = [e for e in self.all("link") if e.attributes["rel"] == "alternate"]
        self.twin = alternates[0].attributes["href"] if alternates else ""
        assert not parser.open[1:], f"never closed: {[e.tag for e in parser.open]}"

    def by_id(self, id_: str) -> Element | None:
        return next((e for e in self.walk() if e.attributes.get("id") == id_), None)


class _Parser(HTMLParser):
    def __init__(self, root: Element) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)
