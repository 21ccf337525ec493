"""Draws a dashboard as a picture from what its queries return, much as Grafana lays it out. For looking at; no test compares pixels.

Knows the three kinds of panels that our dashboards use. Thresholds, units and legends are those of the dashboard's own JSON.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from support.dashboards import panels, ready
from support.prometheus import Prometheus, Series

mpl.use("Agg")

_COLUMN_IN, _ROW_IN, _HEAD_IN, _DPI = 0.66, 0.40, 0.5, 80
_BACK, _PANEL, _TEXT, _FAINT = "#111217", "#181b1f", "#d8d9da", "#8e8e8e"
_COLORS = (
    "#73bf69",
    "#f2cc0c",
    "#8ab8ff",
    "#ff780a",
    "#f2495c",
    "#5794f2",
    "#b877d9",
    "#705da0",
    "#37872d",
    "#fade2a",
    "#3274d9",
    "#e0b400",
)
_LEVELS = {"green": "#56a64b", "yellow": "#e0b400", "red": "#c4162a", "text": _TEXT, "blue": "#5794f2"}
_COLORS_IN_PICTURE = 48
_MOST_LEGENDS = 9
_POINTS = 240


def draw(prometheus: Prometheus, board: str, content: dict[str, Any], start_s: float, end_s: float, path: Path, interval: str) -> None:
    """Write the picture of a dashboard.

    Args:
        prometheus: asked for the data.
        board: the dashboard's short name.
        content: its JSON.
        start_s: unix time on the left.
        end_s: unix time on the right.
        path: of the PNG.
        interval: what `$__rate_interval` is.
    """
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in content["panels"])
    width, height = 24 * _COLUMN_IN, rows * _ROW_IN + _HEAD_IN
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_BACK)
    figure.text(0.1 / width, 1 - 0.3 / height, content["title"], color=_TEXT, fontsize=13, weight="bold")
    when = f"{datetime.fromtimestamp(start_s, UTC):%H:%M:%S} to {datetime.fromtimestamp(end_s, UTC):%H:%M:%S} UTC"
    figure.text(1 - 0.1 / width, 1 - 0.3 / height, when, color=_FAINT, fontsize=9, ha="right")
    for raw in content["panels"]:
        place = raw["gridPos"]
        top = _HEAD_IN + place["y"] * _ROW_IN
        box = (
            (place["x"] * _COLUMN_IN + 0.04) / width,
            1 - (top + place["h"] * _ROW_IN - 0.04) / height,
            (place["w"] * _COLUMN_IN - 0.08) / width,
            (place["h"] * _ROW_IN - 0.08) / height,
        )
        if raw["type"] == "row":
            figure.text(box[0], box[1] + box[3] / 3, raw["title"], color=_TEXT, fontsize=11, weight="bold")
            continue
        frame = figure.add_axes(box, facecolor=_PANEL)
        frame.set_xticks([])
        frame.set_yticks([])
        for spine in frame.spines.values():
            spine.set_color("#2c3235")
        inch = 1 / (place["h"] * _ROW_IN)
        frame.text(0.1 / (place["w"] * _COLUMN_IN), 1 - 0.17 * inch, raw["title"], color=_TEXT, fontsize=8.5, weight="bold", va="center")
        (panel,) = panels(board, {"panels": [raw]})
        step = max((end_s - start_s) / _POINTS, 1.0)
        found: list[tuple[str, Series]] = []
        for expr, legend in panel.queries:
            series = prometheus.over(ready(expr, interval=interval), start_s, end_s, step)
            found += [(_name(legend, each), each) for each in series if each.points]
        _KINDS[raw["type"]](figure, frame, box, place, raw, found, (start_s, end_s))
    _write(figure, path)


def _name(legend: str, series: Series) -> str:
    if legend == "__auto":
        return ""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: series.labels.get(match[1], ""), legend)


def _level(raw: dict[str, Any], value: float) -> str:
    color = "text"
    for step in raw["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return color


def _stat(_figure: Figure, frame: Axes, _box: Any, _place: Any, raw: dict[str, Any], found: Sequence[tuple[str, Series]], _x: Any) -> None:
    unit = raw["fieldConfig"]["defaults"]["unit"]
    if not found:
        frame.text(0.5, 0.42, raw["fieldConfig"]["defaults"].get("noValue", "No data"), color=_FAINT, fontsize=15, ha="center", va="center")
        return
    if raw["options"]["colorMode"] == "background":
        frame.set_facecolor(_LEVELS[_level(raw, found[0][1].points[-1][1])])
    for index, (name, series) in enumerate(found[:3]):
        y = 0.42 if len(found) == 1 else 0.62 - 0.25 * index
        text = _number(series.points[-1][1], unit)
        large = 21 if len(found) == 1 else 11
        if unit == "none" and name:
            text = name
        elif name:
            text = f"{name}  {text}"
        frame.text(0.5, y, text, color="white", fontsize=large, ha="center", va="center", weight="bold")


def _bars(figure: Figure, frame: Axes, box: Any, place: Any, raw: dict[str, Any], found: Sequence[tuple[str, Series]], _x: Any) -> None:
    if not found:
        frame.text(0.5, 0.45, raw["fieldConfig"]["defaults"].get("noValue", "No data"), color=_FAINT, fontsize=13, ha="center")
        return
    found = sorted(found, key=lambda each: each[0])[:14]
    axes = figure.add_axes((box[0] + 0.18 * box[2], box[1] + 0.05 * box[3], 0.66 * box[2], 0.8 * box[3]), facecolor=_PANEL)
    values = [series.points[-1][1] for _, series in found]
    axes.barh(range(len(found)), values, color=_LEVELS["blue"], height=0.6)
    axes.set_yticks(range(len(found)), [name for name, _ in found], color=_TEXT, fontsize=7)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.margins(x=0)
    for y, value in enumerate(values):
        axes.text(value, y, f" {_number(value, raw['fieldConfig']['defaults']['unit'])}", color=_TEXT, fontsize=7, va="center")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _lines(
    figure: Figure, frame: Axes, box: Any, place: Any, raw: dict[str, Any], found: Sequence[tuple[str, Series]], x: tuple[float, float]
) -> None:
    defaults = raw["fieldConfig"]["defaults"]
    if not found:
        frame.text(0.5, 0.45, "No data", color=_FAINT, fontsize=13, ha="center")
        return
    wide, high = place["w"] * _COLUMN_IN, place["h"] * _ROW_IN
    axes = figure.add_axes(
        (box[0] + 0.55 / wide * box[2], box[1] + 0.72 / high * box[3], (1 - 0.65 / wide) * box[2], (1 - 1.1 / high) * box[3]),
        facecolor=_PANEL,
    )
    if defaults.get("custom", {}).get("stacking"):
        times = sorted({at for _, series in found for at, _ in series.points})
        layers = [np.interp(times, *zip(*series.points, strict=True), left=0, right=0) for _, series in found]
        axes.stackplot(times, layers, colors=_COLORS, alpha=0.75)
    else:
        for index, (_, series) in enumerate(found):
            axes.plot(*_broken(series.points, 4 * (x[1] - x[0]) / _POINTS), color=_COLORS[index % len(_COLORS)], linewidth=1.1)
    axes.set_xlim(*x)
    top = axes.get_ylim()[1]
    axes.set_ylim(min(0, axes.get_ylim()[0]), defaults.get("max") or max(top, 1e-9))
    for step in defaults.get("thresholds", {}).get("steps", []):
        if step["value"] is not None and step["value"] <= axes.get_ylim()[1]:
            axes.axhline(step["value"], color=_LEVELS[step["color"]], linewidth=0.8, linestyle="--")
    axes.grid(color="#2c3235", linewidth=0.5)
    ticks = axes.get_yticks()[:: max(1, len(axes.get_yticks()) // 5)]
    ticks = [tick for tick in ticks if axes.get_ylim()[0] <= tick <= axes.get_ylim()[1]]
    axes.set_yticks(ticks, [_number(tick, defaults["unit"]) for tick in ticks], color=_FAINT, fontsize=6.5)
    times = np.linspace(*x, 5)
    axes.set_xticks(times, [f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}" for at in times], color=_FAINT, fontsize=6.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    columns = max(int(wide / 1.75), 1)
    for index, (name, _) in enumerate(found[: min(_MOST_LEGENDS, 2 * columns)]):
        left, line = 0.14 + (index % columns) * (wide - 0.2) / columns, 0.32 - 0.18 * (index // columns)
        frame.text(left / wide, line / high, f"\u25ac {name[:28]}", color=_COLORS[index % len(_COLORS)], fontsize=6.5, va="center")


def _broken(points: Sequence[tuple[float, float]], gap_s: float) -> tuple[list[float], list[float]]:
    """Times and values, with a hole where nothing was known for longer than a gap."""
    times, values = [points[0][0]], [points[0][1]]
    for (before, _), (at, value) in pairwise(points):
        if at - before > gap_s:
            times.append(before)
            values.append(float("nan"))
        times.append(at)
        values.append(value)
    return times, values


_KINDS = {"stat": _stat, "bargauge": _bars, "timeseries": _lines}


def _number(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:,.0f} %" if abs(value) >= 10 else f"{100 * value:.3g} %"
    if unit == "percent":
        return f"{value:.3g} %"
    if unit in {"s", "ms"}:
        seconds = value / 1000 if unit == "ms" else value
        for factor, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(seconds) >= factor:
                return f"{seconds / factor:.3g} {name}"
        return "0 s"
    ending = {"ops": "/s", "reqps": "/s", "Bps": "B/s", "bytes": "B"}.get(unit, "")
    base, names = (1024.0, ("", "Ki", "Mi", "Gi", "Ti")) if unit in {"bytes", "Bps"} else (1000.0, ("", "k", "M", "G", "T"))
    for name in names:
        if abs(value) < base or name == names[-1]:
            return f"{value:.3g} {name}{ending}".strip()
        value /= base
    raise AssertionError("the last name is always taken")


def _write(figure: Figure, path: Path) -> None:
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor=_BACK)
    picture = Image.open(png).convert("RGB").quantize(_COLORS_IN_PICTURE, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)
