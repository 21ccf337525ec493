"""What benchmarks make of their figures: spreads, percentiles, a file of JSON, and the bars that they are held against."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

MS = 1000


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, and the least and the most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Of calls that took so many seconds, in milliseconds; infinite when there was none."""
    ordered = sorted(seconds) or [float("inf")]
    return {"p50": statistics.median(ordered) * MS, "p99": ordered[int(len(ordered) * 0.99)] * MS, "calls": len(seconds)}


def circumstances() -> dict[str, Any]:
    """When and where something was measured; asked at its end, `load` is what ran meanwhile, the benchmark itself included."""
    return {"when": datetime.now(UTC).isoformat(timespec="seconds"), "cores": os.cpu_count(), "load": os.getloadavg()}


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure and what is wanted of it.

    Attributes:
        what: for people, with the unit.
        value: what was measured.
        limit: what it is to be.
        at_least: whether it is to be that or more, instead of that or less.
    """

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is as wanted."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def save(out: Path, figures: dict[str, Any], bars: Sequence[Bar] = ()) -> None:
    """Write figures, and the bars beside them, as JSON."""
    held = [{"what": bar.what, "value": bar.value, "limit": bar.limit, "at_least": bar.at_least, "met": bar.met} for bar in bars]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(orjson.dumps(figures | ({"bars": held} if held else {}), option=orjson.OPT_INDENT_2))


def judge(bars: Sequence[Bar], out: Path, console: Console) -> None:
    """Show all bars, and end the program with 1 when one is missed.

    Raises:
        SystemExit: one is.
    """
    table = Table("", "measured", "wanted", "", title_justify="left")
    for bar in bars:
        wanted = f"{'at least' if bar.at_least else 'at most'} {bar.limit:g}"
        table.add_row(bar.what, f"{bar.value:.2f}", wanted, "" if bar.met else "missed")
    console.print(table)
    console.print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; written to {out}")
    if not all(bar.met for bar in bars):
        raise SystemExit(1)
