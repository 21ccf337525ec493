"""A report's page and its pieces as HTML text: sections, tables, bars and figures. A table's cells are HTML already.

Needs nothing but the standard library, so that whoever writes a report may use it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources

_IS_BAR = 'class="bar"'
# Nothing is loaded and nothing runs, whatever a name in the page might say.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, body: str, style: str = "") -> str:
    """A whole page that holds everything it shows: no script, no request.

    Args:
        title: plain text, also its heading.
        body: HTML below the heading.
        style: CSS beside the common one.
    """
    common = resources.files("convnet").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{common}{style}</style></head><body><main><h1>{escape(title)}</h1>{body}"
        "<footer>Made by convnet-kafka. This file holds everything it shows.</footer></main></body></html>\n"
    )


def figures(shown: Sequence[tuple[str, str]]) -> str:
    """Boxes with a number and what it says."""
    boxes = "".join(f'<div class="figure"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in shown)
    return f'<div class="figures">{boxes}</div>'


def section(heading: str, body: str) -> str:
    """A headed box; nothing when there is nothing in it."""
    return f"<section><h2>{escape(heading)}</h2>{body}</section>" if body else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells that hold a bar get the room for it."""
    head = "".join(f"<th>{escape(each)}</th>" if each else '<th class="wide"></th>' for each in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(_rows(rows))}</tbody></table></div>'


def _rows(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in rows:
        yield "<tr>" + "".join(f'<td class="wide">{each}</td>' if _IS_BAR in each else f"<td>{each}</td>" for each in row) + "</tr>"


def bar(share: float) -> str:
    """A bar of a share of the room, 0-1."""
    return f'<span {_IS_BAR} style="width:{100 * share:.1f}%"></span>'


def share(value: float | None, decimals: int = 2) -> str:
    """A share, 0-1, in percent."""
    return "-" if value is None else f"{value:.{decimals}%}"


def microseconds(seconds: float | None) -> str:
    """A short time."""
    return "-" if seconds is None else f"{1e6 * seconds:,.0f} µs"


def size(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e6:.2f} MB" if count >= 1_000_000 else f"{count / 1e3:.1f} kB"
