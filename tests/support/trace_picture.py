"""Draws a trace as it was exported: a row for each span under its parent, a bar for its time, a colour for its process (docs/trace.svg)."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from support.trace_collector import ExportedSpan

WIDTH, ROW, TOP, NAMES = 1080, 22, 64, 430
COLOURS = {"convnet-kafka-client": "#3b6fb6", "convnet-kafka-server": "#2b8a5f", "convnet-kafka-classifier": "#b5582f"}


def draw(spans: list[ExportedSpan], prefix: str) -> str:
    """The picture, as SVG; topics have the default prefix instead of this one."""
    rows = list(_in_order(spans, "", 0))
    assert len(rows) == len(spans), "a span has a parent that is not there"
    start = min(span.start_ns for span in spans)
    whole = max(span.end_ns for span in spans) - start
    scale = (WIDTH - NAMES - 90) / whole
    height = TOP + ROW * len(rows) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title desc"',
        ' font-family="system-ui, sans-serif" font-size="12">',
        '<title id="title">A trace</title>',
        f'<desc id="desc">{escape("; ".join(_title(span).replace(prefix, "convnet") for span, _ in rows))}</desc>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="14" fill="#222">Trace {spans[0].trace_id}: {whole / 1e6:,.0f} ms, {len(spans)} spans</text>',
    ]
    for number, (service, colour) in enumerate(COLOURS.items()):
        x = 16 + 210 * number
        parts.append(f'<rect x="{x}" y="36" width="12" height="12" fill="{colour}"/><text x="{x + 18}" y="46" fill="#222">{service}</text>')
    for number, (span, depth) in enumerate(rows):
        y = TOP + ROW * number
        if number % 2:
            parts.append(f'<rect x="0" y="{y}" width="{WIDTH}" height="{ROW}" fill="#f5f5f5"/>')
        x, width = NAMES + (span.start_ns - start) * scale, max((span.end_ns - span.start_ns) * scale, 2)
        parts.append(f'<text x="{16 + 16 * depth}" y="{y + 15}" fill="#222">{escape(_title(span).replace(prefix, "convnet"))}</text>')
        parts.append(f'<rect x="{x:.1f}" y="{y + 5}" width="{width:.1f}" height="12" rx="2" fill="{COLOURS[span.service]}"/>')
        took = f"{(span.end_ns - span.start_ns) / 1e6:,.1f} ms"
        beside = x + width + 6
        if beside > WIDTH - 80:
            parts.append(f'<text x="{x - 6:.1f}" y="{y + 15}" fill="#555" text-anchor="end">{took}</text>')
        else:
            parts.append(f'<text x="{beside:.1f}" y="{y + 15}" fill="#555">{took}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _in_order(spans: list[ExportedSpan], parent: str, depth: int) -> Iterator[tuple[ExportedSpan, int]]:
    for span in sorted((each for each in spans if each.parent_id == parent), key=lambda each: each.start_ns):
        yield span, depth
        yield from _in_order(spans, span.span_id, depth + 1)


def _title(span: ExportedSpan) -> str:
    links = f" → {len(span.links)} image{'s' if len(span.links) > 1 else ''}" if span.name.startswith("process") else ""
    alone = " (alone)" if "convnet.alone" in span.attributes else ""
    return span.name + links + alone
