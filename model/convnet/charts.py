"""Charts as SVG text: they scale, print, and take their colours from the page (light or dark). Draws; computes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from convnet.evaluation import Bin

_WIDTH, _HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 14, 14, 38
# A longer class name would take more room than the cells.
_LONGEST_NAME = 18
# More cells are too small for a number; more still are no picture.
_MOST_NUMBERED, MOST_CELLS = 24, 80


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: its name, its CSS class, and a value for each x (1, 2, ...)."""

    name: str
    style: str
    values: Sequence[float]


def lines(title: str, x_name: str, drawn: Sequence[Line], *, percent: bool = False) -> str:
    """A line chart with a legend."""
    values = [value for line in drawn for value in line.values if math.isfinite(value)]
    ticks = _ticks(min(values, default=0.0), max(values, default=1.0))
    low, high = ticks[0], ticks[-1]
    last = max(2, *(len(line.values) for line in drawn))

    def x(number: float) -> float:
        return _LEFT + (number - 1) / (last - 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_grid(y(tick), f"{tick:.4g}" if not percent else f"{100 * tick:.4g} %") for tick in ticks]
    step = max(1, math.ceil((last - 1) / 8))
    parts += [_text(x(number), _HEIGHT - _BOTTOM + 16, str(number), "middle") for number in range(1, last + 1, step)]
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 4, x_name, "end"))
    for index, line in enumerate(drawn):
        points = [(x(number), y(value)) for number, value in enumerate(line.values, 1) if math.isfinite(value)]
        parts.append(f'<polyline class="line {line.style}" points="{" ".join(f"{px:.1f},{py:.1f}" for px, py in points)}"/>')
        if len(points) <= 40:
            parts += [f'<circle class="dot {line.style}" cx="{px:.1f}" cy="{py:.1f}" r="2.5"/>' for px, py in points]
        at = _LEFT + 150 * index
        parts.append(f'<rect class="{line.style}" x="{at}" y="{_HEIGHT - 12}" width="12" height="4"/>')
        parts.append(_text(at + 17, _HEIGHT - 4, line.name, "start"))
    return _svg(_WIDTH, _HEIGHT, title, "".join(parts))


def reliability(bins: Sequence[Bin]) -> str:
    """Accuracy over confidence: a well calibrated model's bars end on the diagonal. Wider gaps are drawn stronger."""
    side, left, top = 260, 66, 14

    def x(value: float) -> float:
        return left + value * side

    def y(value: float) -> float:
        return top + (1 - value) * side

    parts = [_grid(y(tick / 4), f"{25 * tick} %", left, left + side) for tick in range(5)]
    parts += [_text(x(tick / 4), y(0) + 16, f"{25 * tick} %", "middle") for tick in range(5)]
    most = max((each.images for each in bins), default=1)
    for each in bins:
        width = (each.high - each.low) * side - 2
        strength = 0.35 + 0.65 * each.images / most
        parts.append(
            f'<rect class="validation" opacity="{strength:.2f}" x="{x(each.low) + 1:.1f}" y="{y(each.accuracy):.1f}" '
            f'width="{width:.1f}" height="{max(each.accuracy * side, 1):.1f}">'
            f"<title>{each.images} answers of {each.confidence:.1%} mean confidence: {each.accuracy:.1%} right</title></rect>"
        )
    parts.append(f'<line class="ideal" x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}"/>')
    parts.append(_text(x(0.5), y(0) + 34, "confidence", "middle"))
    parts.append(f'<text class="tick" text-anchor="middle" transform="translate(11 {y(0.5)}) rotate(-90)">share of right answers</text>')
    return _svg(left + side + 24, top + side + 42, "Share of right answers by confidence", "".join(parts))


def confusion(classes: Sequence[str], counts: NDArray[np.int64]) -> str:
    """The confusion matrix: a row a class, a column what it was taken for; shades are shares of the row."""
    names = [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in classes]
    cell = 40 if len(classes) <= 12 else 30 if len(classes) <= _MOST_NUMBERED else 12
    left = 14 + 7.2 * max(len(name) for name in names)
    top = 22 + 5.6 * max(len(name) for name in names)
    parts = []
    for index, name in enumerate(names):
        if cell > 12 or index % 2 == 0:
            middle = (index + 0.5) * cell
            parts.append(_text(left - 6, top + middle + 4, name, "end"))
            parts.append(
                f'<text class="tick" text-anchor="start" transform="translate({left + middle + 4:.1f} {top - 6:.1f}) '
                f'rotate(-50)">{escape(name)}</text>'
            )
    parts += _cells(classes, counts, cell, left, top)
    side = cell * len(classes)
    return _svg(left + side + 0.64 * (top - 8) + 8, top + side + 6, "Confusion matrix", "".join(parts))


def _cells(classes: Sequence[str], counts: NDArray[np.int64], cell: int, left: float, top: float) -> Iterator[str]:
    totals = np.maximum(counts.sum(axis=1), 1)
    for own, taken in np.ndindex(*counts.shape):
        count, share = int(counts[own, taken]), float(counts[own, taken] / totals[own])
        x, y = left + taken * cell, top + own * cell
        # The root makes rare mistakes visible beside a diagonal of nearly everything.
        shade = math.sqrt(share) if count else 0.0
        style = "right" if own == taken else "wrong"
        told = f"{escape(classes[own])} taken for {escape(classes[taken])}: {count} ({share:.1%})"
        yield f'<rect class="empty" x="{x:.1f}" y="{y:.1f}" width="{cell - 1}" height="{cell - 1}"/>'
        if count:
            yield (
                f'<rect class="{style}" fill-opacity="{shade:.2f}" x="{x:.1f}" y="{y:.1f}" width="{cell - 1}" height="{cell - 1}">'
                f"<title>{told}</title></rect>"
            )
            if cell > 12:
                strong = " strong" if shade > 0.6 else ""
                yield (f'<text class="count{strong}" text-anchor="middle" x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}">{count}</text>')


def _ticks(low: float, high: float) -> list[float]:
    """Some four to seven round numbers around a range."""
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _grid(y: float, label: str, left: float = _LEFT, right: float = _WIDTH - _RIGHT) -> str:
    return f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>' + _text(left - 6, y + 4, label, "end")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="tick" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(width: float, height: float, title: str, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{escape(title)}">{body}</svg>'
    )
