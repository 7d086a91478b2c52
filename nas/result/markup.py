"""HTML from Python: a tag is a call, and every text is escaped unless it is markup already."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

_NOT_HTML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Html(str):
    """Text that is markup; only this module and whoever draws an SVG makes it."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str | int | None) -> Html:
    """An element. Children that are not Html are escaped, and so are attributes; those that are None are left out.

    An attribute is written as in Python: `class_`, `aria_label`.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{plain(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


def joined(children: Iterable[str]) -> Html:
    """Several children as one."""
    return Html("".join(child if isinstance(child, Html) else plain(child) for child in children))


def plain(text: str) -> str:
    """A text as it may stand in HTML, whatever is in it."""
    return escape(_NOT_HTML.sub("\N{REPLACEMENT CHARACTER}", text))


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table whose first column names the rows; where it is too wide, it can be scrolled, by keyboard as well."""
    header = tag("tr", *(tag("th", name, scope="col") for name in head))
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(cell if _is_cell(cell) else tag("td", cell) for cell in row[1:]))
        for row in rows
    ]
    whole = tag("table", tag("caption", caption), tag("thead", header), tag("tbody", *body))
    return tag("div", whole, class_="wide", tabindex=0, role="region", aria_label=caption)


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Names with what they stand for."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs))


def _is_cell(content: str) -> bool:
    return isinstance(content, Html) and content.startswith("<td")
