"""Small pieces of HTML for notebooks. Whatever comes from a job is escaped here, and nowhere else."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

_CELL: Final = "text-align:left;padding:2px 12px 2px 0"


def pairs(rows: Iterable[tuple[str, object]]) -> str:
    """A table of names and values; rows without a value are left out."""
    found = "".join(
        f'<tr><th scope="row" style="{_CELL};vertical-align:top;white-space:nowrap">{escape(name)}</th>'
        f'<td style="{_CELL};white-space:pre-wrap;overflow-wrap:anywhere">{escape(str(value))}</td></tr>'
        for name, value in rows
        if value is not None and value != ""
    )
    return f"<table>{found}</table>"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with headings; what is None is an empty cell."""
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(heading)}</th>' for heading in headings)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{_CELL}">{"" if cell is None else escape(str(cell))}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def bar(fraction: float, text: str) -> str:
    """A progress bar with a sentence below it."""
    return (
        f'<progress value="{fraction:.4f}" max="1" style="width:100%;max-width:640px" aria-label="progress">'
        f"{fraction:.0%}</progress><div>{escape(text)}</div>"
    )


def picture(svg: bytes, says: str) -> str:
    """An SVG as an image: what stands in it can neither run nor clash with the page."""
    data = base64.b64encode(svg).decode("ascii")
    return f'<img alt="{escape(says)}" style="max-width:100%" src="data:image/svg+xml;base64,{data}">'


def link(url: str, text: str) -> str:
    """A link to a page of the service; other URLs are text."""
    if not url.startswith(("http://", "https://")):
        return escape(text)
    return f'<a href="{escape(url)}" target="_blank" rel="noopener">{escape(text)}</a>'
