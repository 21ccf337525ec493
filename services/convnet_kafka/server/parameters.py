"""Query parameters: parsed and checked once, at the edge."""

from __future__ import annotations

import math

from aiohttp import web

from convnet_kafka.messages import Lane
from convnet_kafka.server.problems import Problem

MAX_OFFSET = (1 << 63) - 1


def whole(request: web.Request, name: str, low: int, high: int) -> int | None:
    """A whole number from the query, None when it is absent.

    Raises:
        Problem: it is no number, or out of range.
    """
    text = request.query.get(name)
    return None if text is None else whole_number(f"?{name}=", text, low, high)


def whole_number(where: str, text: str, low: int, high: int) -> int:
    """A whole number from text; `where` names it.

    Raises:
        Problem: it is no number, or out of range.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and low <= int(text) <= high):
        raise Problem("bad-request", f"{where} is {text[:40]!r}; it must be a whole number from {low} to {high}")
    return int(text)


def lane(request: web.Request) -> Lane:
    """`?lane=` from the query, the bulk lane when it is absent.

    Raises:
        Problem: there is no such lane.
    """
    text = request.query.get("lane", Lane.BULK.value)
    if text not in set(Lane):
        raise Problem("bad-request", f"?lane= is {text[:40]!r}; it must be {' or '.join(Lane)}")
    return Lane(text)


def flag(request: web.Request, name: str) -> bool | None:
    """`true` or `false` from the query, None when it is absent.

    Raises:
        Problem: it is neither.
    """
    text = request.query.get(name)
    if text is None:
        return None
    if text not in {"true", "false"}:
        raise Problem("bad-request", f"?{name}= is {text[:40]!r}; it must be true or false")
    return text == "true"


def share(request: web.Request, name: str) -> float | None:
    """A number from 0 to 1 from the query, None when it is absent.

    Raises:
        Problem: it is no such number.
    """
    text = request.query.get(name)
    if text is None:
        return None
    value = _decimal(text)
    if not 0 <= value <= 1:
        raise Problem("bad-request", f"?{name}= is {text[:40]!r}; it must be a number from 0 to 1")
    return value


def seconds(request: web.Request, name: str, high: float, default: float) -> float:
    """Seconds from the query, 0 to `high`.

    Raises:
        Problem: it is no number, or out of range.
    """
    text = request.query.get(name)
    if text is None:
        return default
    value = _decimal(text)
    if not 0 <= value <= high:
        raise Problem("bad-request", f"?{name}= is {text[:40]!r}; it must be a number of seconds from 0 to {high:g}")
    return value


def _decimal(text: str) -> float:
    """A number, negative for what is none."""
    try:
        value = float(text)
    except ValueError:
        return -1.0
    return -1.0 if math.isnan(value) else value
