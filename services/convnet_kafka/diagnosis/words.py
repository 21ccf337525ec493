"""Numbers as people read them at a glance: short, and the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence

NOTHING = "-"


def rate(value: float | None) -> str:
    """Things a second."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}" if value >= 0.05 else "<0.1"


def count(value: int) -> str:
    """A number in full."""
    return f"{value:,}"


def amount(value: int) -> str:
    """A number in four letters or so."""
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if value >= size:
            return f"{value / (1000 if letter == 'k' else size):.0f}{letter}"
    return str(value)


def share(value: float) -> str:
    """A part of one."""
    return f"{value:.0%}"


def span(seconds: float | None) -> str:
    """A time, from a millisecond to weeks."""
    if seconds is None:
        return NOTHING
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, neighbours together: `0-5,8`."""
    if not numbers:
        return NOTHING
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ",".join("-".join(map(str, part)) for part in found)


def plain(text: str) -> str:
    """What others wrote may hold control characters, which a terminal obeys."""
    return "".join(character if character.isprintable() else "?" for character in text)
