"""A folder of 300 damaged, odd and hostile files, the same every time, with what each one is."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from convnet.inspection import Kind

# Name -> the kinds of finding of which it must cause one.
Expected = dict[str, tuple[Kind, ...]]
Put = Callable[..., None]

# Which of both depends on where a decoder stumbles first.
BROKEN = (Kind.UNREADABLE, Kind.TRUNCATED)


def write_hostile(folder: Path) -> Expected:
    """Write class folders `odd` and `plain` of 40 sound pictures each, and exactly 300 other files among them."""
    random = np.random.default_rng(300)
    for name in ("odd", "plain"):
        (folder / name).mkdir(parents=True)
        for number in range(40):
            photo(random).save(folder / name / f"sound-{number}.png")
    expected: Expected = {}

    def put(name: str, data: bytes, *kinds: Kind) -> None:
        place = f"{('odd', 'plain')[len(expected) % 2]}/{len(expected):03}-{name}"
        (folder / place).write_bytes(data)
        expected[place] = kinds

    _formats(random, put)
    _modes(random, put)
    _huge(put)
    _damage(random, put)
    for number in range(8):
        frames = [photo(random).convert("P") for _ in range(3)]
        put(f"moving-{number}.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), Kind.ANIMATED)
        put(f"moving-{number}.webp", encoded(photo(random), "WEBP", save_all=True, append_images=[photo(random)]), Kind.ANIMATED)
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        put(f"turned-{orientation}.jpg", encoded(photo(random), "JPEG", exif=exif), Kind.ROTATED)
    for number in range(6):
        other = ("plain", "odd")[len(expected) % 2]
        put(f"twice-{number}.png", (folder / other / f"sound-{number}.png").read_bytes(), Kind.TWO_CLASSES)
    for number in range(12):
        put(f"empty-{number}.png", b"", Kind.UNREADABLE)
    number = 0
    while len(expected) < 300:
        put(f"text-{number}.jpg", f"<html>{number}".encode() * (number + 1), Kind.NOT_AN_IMAGE)
        number += 1
    assert len(expected) == 300
    return expected


def photo(random: np.random.Generator, height: int = 48, width: int = 48) -> Image.Image:
    """Colours that no two pictures share."""
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _formats(random: np.random.Generator, put: Put) -> None:
    """Each format cut short, misnamed, tiny, and of odd shapes."""
    formats = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "gif": "GIF", "webp": "WEBP"}
    for suffix, kind in formats.items():
        for share in (0.3, 0.5, 0.7, 0.9):
            whole = encoded(photo(random), kind)
            put(f"cut-{share}.{suffix}", whole[: int(len(whole) * share)], Kind.TRUNCATED)
        for number in range(6):
            put(f"wrong-{number}.{'jpg' if suffix != 'jpg' else 'png'}", encoded(photo(random), kind), Kind.WRONG_EXTENSION)
        for side in (1, 2, 3, 5):
            put(f"tiny-{side}.{suffix}", encoded(photo(random, side, side + 1), kind), Kind.TINY)
        for shape in ((400, 20), (20, 400), (24, 300)):
            put(f"long.{suffix}", encoded(photo(random, *shape), kind), Kind.ODD_SIZE)
        put(f"header.{suffix}", encoded(photo(random), kind)[:14], *BROKEN)


def _modes(random: np.random.Generator, put: Put) -> None:
    for number in range(8):
        deep = Image.fromarray(random.integers(0, 65536, (48, 48)).astype(np.uint16))
        put(f"sixteen-{number}.png", encoded(deep, "PNG"), Kind.ODD_MODE)
        put(f"ink-{number}.jpg", encoded(photo(random).convert("CMYK"), "JPEG"), Kind.ODD_MODE)
        clear = photo(random).convert("P")
        put(f"clear-{number}.png", encoded(clear, "PNG", transparency=number), Kind.ODD_MODE)
        put(f"clear-{number}.gif", encoded(clear.rotate(90), "GIF", transparency=number), Kind.ODD_MODE)
        alpha = photo(random).convert("RGBA")
        alpha.putalpha(Image.fromarray(random.integers(0, 256, (48, 48), np.uint8)))
        put(f"alpha-{number}.png", encoded(alpha, "PNG"), Kind.ODD_MODE)
        put(f"alpha-{number}.webp", encoded(alpha, "WEBP", lossless=True), Kind.ODD_MODE)
        put(f"bits-{number}.png", encoded(photo(random).convert("1"), "PNG"), Kind.ODD_MODE)


def _huge(put: Put) -> None:
    """Headers that claim more than any machine has."""
    small = zlib.compress(bytes(1000))
    for side in (20_000, 100_000, 2_000_000_000):
        put(f"huge-{side}.png", png(side, side, 8, 2, small), Kind.TOO_LARGE)
    for side in (9_000, 16_000):
        put(
            f"huge-{side}.bmp",
            b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0),
            Kind.TOO_LARGE,
        )
        put(f"huge-{side}.gif", b"GIF89a" + struct.pack("<HHBBB", side, side, 0, 0, 0) + b"," + bytes(20), Kind.TOO_LARGE)
        body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (side - 1).to_bytes(3, "little") * 2
        put(f"huge-{side}.webp", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body, Kind.TOO_LARGE)


def _damage(random: np.random.Generator, put: Put) -> None:
    """Bytes that make decoders raise whatever they raise: bad checksums, impossible depths, endless tables, wrong lengths."""
    for number in range(8):
        data = bytearray(encoded(photo(random), "PNG"))
        data[60 + number * 40] ^= 0xFF
        put(f"flipped-{number}.png", bytes(data), *BROKEN)
        put(f"depth-{number}.png", png(8, 8, number + 17, 2, zlib.compress(bytes(300))), *BROKEN)
        put(f"zlib-{number}.png", png(48, 48, 8, 2, random.bytes(200)), *BROKEN)
        put(f"noise-{number}.jpg", b"\xff\xd8\xff" + random.bytes(300), *BROKEN)
        put(f"noise-{number}.gif", b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x87, 0, 0) + random.bytes(30), *BROKEN)
        put(f"noise-{number}.bmp", b"BM" + random.bytes(120), *BROKEN)
