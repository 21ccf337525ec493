"""Query parameters: parsed and checked once, at the edge."""

from __future__ import annotations

from aiohttp import web

from convnet_kafka.server.problems import Problem

MAX_OFFSET = (1 << 63) - 1


def whole(request: web.Request, name: str, low: int, high: int) -> int | None:
    """A whole number from the query, None when it is absent.

    Raises:
        Problem: it is no number, or out of range.
    """
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and low <= int(text) <= high):
        raise Problem("bad-request", f"?{name}= is {text[:40]!r}; it must be a whole number from {low} to {high}")
    return int(text)


def seconds(request: web.Request, name: str, high: float, default: float) -> float:
    """Seconds from the query, 0 to `high`.

    Raises:
        Problem: it is no number, or out of range.
    """
    text = request.query.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= high:  # also false for NaN
        raise Problem("bad-request", f"?{name}= is {text[:40]!r}; it must be a number of seconds from 0 to {high:g}")
    return value
