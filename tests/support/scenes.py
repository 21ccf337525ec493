"""Small pictures for the page, drawn here, each with what a classifier is to say of it behind its last byte."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from support.fake_classifier import FakeClassifier

CLASSES = {
    "cat": (214, 149, 96),
    "dog": (150, 110, 80),
    "bird": (94, 156, 196),
    "flower": (208, 92, 122),
    "tree": (92, 144, 88),
    "boat": (70, 96, 150),
}


def scene(number: int, label: str, confidence: float, size: tuple[int, int] = (320, 240)) -> bytes:
    """A JPEG of hills and a round thing, never the same twice."""
    random_ = random.Random(number)
    width, height = size
    colour = CLASSES.get(label, (120, 120, 120))
    image = Image.new("RGB", size, tuple(min(255, part + 90) for part in colour))
    draw = ImageDraw.Draw(image)
    for step in range(3):
        top = height * (0.45 + 0.18 * step) + random_.uniform(-20, 20)
        slope = random_.uniform(-60, 60)
        shade = tuple(max(0, int(part * (1 - 0.22 * step))) for part in colour)
        draw.polygon([(0, top - slope), (width, top + slope), (width, height), (0, height)], fill=shade)
    x, y, radius = random_.uniform(60, width - 60), random_.uniform(40, height / 2), random_.uniform(18, 44)
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(250, 236, 200))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return out.getvalue() + f"class={label};confidence={confidence};".encode()


def folder_of(folder: Path, count: int, *, start: int = 0) -> list[Path]:
    """So many files, of all classes."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(CLASSES)
    made = []
    for number in range(start, start + count):
        random_ = random.Random(number)
        label = names[int(random_.triangular(0, len(names) - 0.01, 0))]
        path = folder / f"{label}-{number:03}.jpg"
        path.write_bytes(scene(number, label, round(random_.uniform(0.5, 0.999), 3)))
        made.append(path)
    return made


class SceneClassifier(FakeClassifier):
    """Labels a picture as the words behind its last byte say."""

    def result(self, content: bytes) -> dict[str, Any]:
        told = re.search(rb"class=([^;]+);confidence=([0-9.]+);", content)
        if told is None:
            return {"error": "undecodable", "detail": "The picture cannot be decoded: it ends in the middle."}
        return {"label": told.group(1).decode(), "confidence": float(told.group(2))}
