"""A contact sheet of class folders: some pictures of each class, then those with findings; as a PNG or a self-contained HTML page."""

from __future__ import annotations

import base64
import html
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from convnet.check import Check
from convnet.errors import DatasetError, UnreadableImage
from convnet.images import ImageSpec, decode, read_header
from convnet.inspection import Inspected
from convnet.listing import shown

THUMBNAIL = 96
_PER_CLASS = 10
_MOST_FINDINGS = 100
_GAP = 8
_CAPTION = 16


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the thumbnails under it: (caption, picture)."""

    heading: str
    cells: tuple[tuple[str, Image.Image], ...]


def thumbnail(data: bytes, side: int = THUMBNAIL) -> Image.Image:
    """A picture as training reads it (upright, on white), in its own proportions, no side longer than `side`.

    Raises:
        UnreadableImage: it cannot be read.
    """
    header = read_header(data)
    width, height = (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)
    scale = min(side / max(width, height), max(1, side // max(width, height)))
    spec = ImageSpec(max(1, round(height * scale)), max(1, round(width * scale)), 3)
    return Image.fromarray(decode(data, spec))


def write_sheet(check: Check, path: Path) -> None:
    """Write the sheet of a checked folder; the ending, .png or .html, says which kind.

    Raises:
        DatasetError: another ending, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in {".png", ".html"}:
        raise DatasetError(f"a contact sheet is a .png or .html file, not {path.name}")
    rows = list(_rows(check))
    data = _html(check, rows).encode() if suffix == ".html" else _png(rows)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise DatasetError(f"cannot write the contact sheet {path}: {error.strerror}") from error


def data_uri(image: Image.Image) -> str:
    """A picture as text for an `src` attribute."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _rows(check: Check) -> Iterator[Row]:
    by_class: dict[int, list[Inspected]] = defaultdict(list)
    for each in sorted(check.inspected, key=lambda each: each.digest):  # by content: a random choice that is always the same
        if each.fault is None and len(by_class[each.file.label]) < _PER_CLASS:
            by_class[each.file.label].append(each)
    for label, count in enumerate(check.classes):
        cells = ((Path(each.file.path).name, each) for each in by_class[label])
        yield Row(f"{count.name}: {count.usable} pictures", tuple(_cells(cells)))
    files = {shown(each.file.path, check.folder): each for each in check.inspected if each.fault is None}
    found = [(f"{finding.kind}: {finding.name}", files[finding.name]) for finding in check.findings if finding.name in files]
    if found:
        more = f", the first {_MOST_FINDINGS}" if len(found) > _MOST_FINDINGS else ""
        yield Row(f"Findings with a picture ({len(found)}{more})", tuple(_cells(found[:_MOST_FINDINGS])))


def _cells(files: Iterator[tuple[str, Inspected]] | Sequence[tuple[str, Inspected]]) -> Iterator[tuple[str, Image.Image]]:
    for caption, each in files:
        try:
            yield caption, thumbnail(Path(each.file.path).read_bytes())
        except (UnreadableImage, OSError):
            continue  # removed since it was checked


def _png(rows: Sequence[Row]) -> bytes:
    font, bold = ImageFont.load_default(11), ImageFont.load_default(15)
    step = THUMBNAIL + _GAP
    lines = [-(-len(row.cells) // _PER_CLASS) for row in rows]
    height = sum(24 + line * (step + _CAPTION) for line in lines) + 2 * _GAP
    sheet = Image.new("RGB", (_PER_CLASS * step + _GAP, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for row, line in zip(rows, lines, strict=True):
        draw.text((_GAP, top), row.heading, fill="black", font=bold)
        for number, (caption, image) in enumerate(row.cells):
            x, y = _GAP + number % _PER_CLASS * step, top + 24 + number // _PER_CLASS * (step + _CAPTION)
            draw.rectangle((x, y, x + THUMBNAIL - 1, y + THUMBNAIL - 1), fill="#eeeeee")
            sheet.paste(image, (x + (THUMBNAIL - image.width) // 2, y + (THUMBNAIL - image.height) // 2))
            draw.text((x, y + THUMBNAIL + 1), _shortened(caption, font), fill="#444444", font=font)
        top += 24 + line * (step + _CAPTION)
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _shortened(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of a caption's end as fits under a thumbnail: names differ at their ends."""
    if font.getlength(caption) <= THUMBNAIL:
        return caption
    while caption and font.getlength("…" + caption) > THUMBNAIL:
        caption = caption[1:]
    return "…" + caption


def _html(check: Check, rows: Sequence[Row]) -> str:
    body = "".join(
        f"<h2>{html.escape(row.heading)}</h2><div class=row>"
        + "".join(
            f'<figure><img src="{data_uri(image)}" alt="{html.escape(caption)}"><figcaption>{html.escape(caption)}</figcaption></figure>'
            for caption, image in row.cells
        )
        + "</div>"
        for row in rows
    )
    title = html.escape(check.folder.name or str(check.folder))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>{title}</title>"
        "<style>:root{color-scheme:light dark}body{font:15px system-ui,sans-serif;margin:1rem auto;max-width:75rem;padding:0 1rem}"
        ".row{display:flex;flex-wrap:wrap;gap:.5rem}figure{margin:0;width:96px}img{width:96px;height:96px;object-fit:contain;"
        "background:#8882}figcaption{font-size:11px;opacity:.75;overflow-wrap:anywhere}</style>"
        f"<h1>{title}</h1><p>{check.files} files, {len(check.classes)} classes.</p>{body}</html>\n"
    )
