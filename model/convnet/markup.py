"""Pieces of a report's page as HTML text: sections, tables, bars and figures. A table's cells are HTML already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

_IS_BAR = 'class="bar"'


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
