"""Decode one picture, safely: the ONE function used in training and in serving, so that both see the same pixels.

Trusts neither file name nor header: what the bytes claim is checked before memory is spent on it, and whatever a hostile file
makes Pillow raise becomes `UnreadableImage`. ICC profiles and gamma are ignored on purpose, as they were in training.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from convnet.errors import UnreadableCode, UnreadableImage

Pixels = NDArray[np.uint8]

# Opening a JPEG, Pillow looks for its resolution in EXIF and warns of damage there; resolution means nothing here.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WebP")

# Area-aware in Pillow when shrinking, so thin strokes do not vanish; the same filter in training and serving.
RESIZE_FILTER = Image.Resampling.BILINEAR
# Shrink by whole factors first while the picture is still 3 times the target: indistinguishable, and many times faster on photos.
REDUCING_GAP = 3.0
# JPEG can be decoded at 1/2, 1/4 or 1/8: never below twice the target, so that the filter above still has pixels to work with.
DRAFT_FACTOR = 2
# A progressive JPEG says each pixel again in every scan. Cameras and encoders write about 10; thousands are an attack on time.
MAX_JPEG_SCANS = 100
# Pillow decodes run-length BMP in Python, about 1 us a byte: past this one file would hold a classifier for seconds.
MAX_RLE_BMP_BYTES = 1_000_000

_EXIF_ORIENTATION, _EXIF_SHORT = 0x0112, 3
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What the network takes.

    Attributes:
        height: pixels, 1 or more.
        width: pixels, 1 or more.
        channels: 1 for grey, 3 for RGB.
    """

    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"an image is at least 1 x 1 pixels, not {self.height} x {self.width}")
        if self.channels not in {1, 3}:
            raise ValueError(f"an image has 1 (grey) or 3 (RGB) channels, not {self.channels}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels), the shape of a decoded image."""
        return self.height, self.width, self.channels


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one picture may cost.

    Attributes:
        max_bytes: encoded bytes.
        max_pixels: width x height as the header claims, checked before pixels are decoded. 64 million holds today's phone photos
            and costs at most 256 MB while one is decoded.
    """

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 64_000_000


DEFAULT_LIMITS = DecodeLimits()


def decode(data: bytes, spec: ImageSpec, limits: DecodeLimits = DEFAULT_LIMITS) -> Pixels:
    """Turn an encoded picture into the network's pixels.

    The first frame of an animation, turned as its EXIF orientation says, transparency on white, resized (aspect ratio is not kept,
    as in training) only when the size differs.

    Args:
        data: a whole JPEG, PNG, BMP, GIF or WebP file.
        spec: height, width and channels of the result.
        limits: what the picture may cost.

    Returns:
        uint8 array of shape (height, width, channels), 0-255; possibly read-only.

    Raises:
        UnreadableImage: for any other input; its `code` says which kind.
    """
    if len(data) > limits.max_bytes:
        raise UnreadableImage(UnreadableCode.TOO_LARGE, f"{len(data)} bytes; at most {limits.max_bytes} are read")
    opener = _OPENERS.get(data[:2])
    if opener is None:
        raise _not_an_image(data)
    try:
        image = opener(data, limits)
        width, height = image.size
        _refuse_if_large(width, height, limits)
        if image.mode == "L" and spec.channels == 1 and width == spec.width and height == spec.height:
            # The hot path: small grey pictures that already fit. Metadata may follow the pixels, so it is looked at after them.
            pixels = image.tobytes()
            if "transparency" not in image.info and "exif" not in image.info:
                return np.frombuffer(pixels, np.uint8).reshape(spec.shape)
        return _convert(image, spec)
    except UnreadableImage:
        raise
    except MemoryError as error:
        raise UnreadableImage(UnreadableCode.TOO_LARGE, "not enough memory to decode it") from error
    except Exception as error:
        # Pillow raises OSError, SyntaxError, ValueError, struct.error, zlib.error, EOFError, KeyError ... on damaged bytes.
        raise UnreadableImage(UnreadableCode.UNDECODABLE, f"damaged or incomplete: {_one_line(error)}") from error


def decode_image(image: Image.Image, spec: ImageSpec, limits: DecodeLimits = DEFAULT_LIMITS) -> Pixels:
    """Turn a Pillow image into the network's pixels, as `decode` does for a file; the image itself is left as it is.

    Raises:
        UnreadableImage: it is too large, or was opened from a file that is damaged.
    """
    _refuse_if_large(*image.size, limits)
    try:
        return _convert(image.copy(), spec)
    except MemoryError as error:
        raise UnreadableImage(UnreadableCode.TOO_LARGE, "not enough memory to decode it") from error
    except Exception as error:  # see `decode`
        raise UnreadableImage(UnreadableCode.UNDECODABLE, f"damaged or incomplete: {_one_line(error)}") from error


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself before its pixels are decoded.

    Attributes:
        format: one of `FORMATS`.
        mode: Pillow's name for the kind of pixels, for example `RGB`, `I;16`, `CMYK`.
        width: pixels, as stored.
        height: pixels, as stored.
        frames: 1, or more for an animation, of which only the first is used.
        orientation: EXIF, 1 to 8; 1 is upright.
        transparent: whether some pixels may show what is behind.
    """

    format: str
    mode: str
    width: int
    height: int
    frames: int
    orientation: int
    transparent: bool


def read_header(data: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> Header:
    """Describe an encoded picture. Raises UnreadableImage as `decode` does; damage further on is not seen."""
    opener = _OPENERS.get(data[:2])
    if opener is None:
        raise _not_an_image(data)
    try:
        image = opener(data, limits)
        transparent = "transparency" in image.info or image.mode in {"RGBA", "LA", "PA", "La", "RGBa"}
        frames = int(getattr(image, "n_frames", 1))
        named = "WebP" if image.format == "WEBP" else str(image.format)
        return Header(named, image.mode, image.width, image.height, frames, _orientation(image), transparent)
    except UnreadableImage:
        raise
    except Exception as error:  # see `decode`
        raise UnreadableImage(UnreadableCode.UNDECODABLE, f"damaged or incomplete: {_one_line(error)}") from error


def _convert(image: Image.Image, spec: ImageSpec) -> Pixels:
    """Pixels of an opened picture of any mode and size."""
    if isinstance(image, JpegImageFile) and image.mode in {"RGB", "L"}:
        side = DRAFT_FACTOR * max(spec.height, spec.width)  # max: an EXIF turn may swap the sides
        if min(image.size) >= 2 * side:
            image.draft("L" if spec.channels == 1 else "RGB", (side, side))
    image.load()
    orientation = _orientation(image)
    mode = "L" if spec.channels == 1 else "RGB"
    pixels = _flat(image, mode)
    # From 5 on the sides swap: resize to the swapped target first, then turn the small picture.
    target = (spec.height, spec.width) if 5 <= orientation <= 8 else (spec.width, spec.height)
    if pixels.size != target:
        pixels = pixels.resize(target, RESIZE_FILTER, reducing_gap=REDUCING_GAP)
    if 2 <= orientation <= 8:
        pixels = pixels.transpose(_TRANSPOSE[orientation])
    return np.frombuffer(pixels.tobytes(), np.uint8).reshape(spec.shape)


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """The picture in `L` or `RGB`, 8 bits, transparency composited on white (what a page shows, not the hidden colour)."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return _eight_bits(image).convert(mode)
    transparency = image.info.get("transparency")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"}:
        return _on_white(image, mode)
    if transparency is not None and image.mode in {"P", "L", "RGB", "1"}:
        return _on_white(_with_alpha(image, transparency), mode)
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image, mode: str) -> Image.Image:
    """Composite a picture that has an alpha channel on white."""
    source = image if image.mode in {"RGBA", "LA"} else image.convert("RGBA")
    alpha = source.getchannel("A")
    colours = source.convert("L" if source.mode == "LA" else "RGB").convert(mode)
    white = Image.new(mode, source.size, "white")
    white.paste(colours, (0, 0), alpha)
    return white


def _with_alpha(image: Image.Image, transparency: object) -> Image.Image:
    """A palette, grey or RGB picture whose transparent colour stands in its metadata, with that as an alpha channel."""
    if image.mode == "P":
        return image.convert("RGBA")
    samples = np.asarray(image.convert("L") if image.mode == "1" else image)
    key = np.asarray(transparency)
    hidden = samples == key if samples.ndim == 2 else (samples == key).all(axis=2)
    alpha = Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8))
    opaque = image.convert("RGB")
    opaque.putalpha(alpha)
    return opaque


def _eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit grey picture in 8 bits: 0 stays 0, 65535 becomes 255, the rest is rounded."""
    samples = np.asarray(image).astype(np.int64)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        samples = np.where(samples == transparent, 65535, samples)
    return Image.fromarray(((samples.clip(0, 65535) + 128) // 257).astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8 (anything else turns nothing). Damaged EXIF turns nothing either: the pixels are whole.

    Read here (EXIF 2.32, section 4.6: a TIFF header and entries of 12 bytes) because Pillow's parser warns with texts a sender chooses.
    """
    raw = image.info.get("exif")
    if not raw:
        return 1
    tiff = raw.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, offset)
        for entry in range(offset + 2, offset + 2 + 12 * entries, 12):
            tag, kind, count, orientation = struct.unpack_from(order + "HHIH", tiff, entry)
            if (tag, kind, count) == (_EXIF_ORIENTATION, _EXIF_SHORT, 1):
                return int(orientation)
    except struct.error:
        return 1
    return 1


def _open_png(data: bytes, _limits: DecodeLimits) -> ImageFile.ImageFile:
    image = PngImageFile(io.BytesIO(data))
    transparent = image.info.get("transparency")
    if transparent is not None:
        # The transparent colour is written in the file's own depth (IHDR's ninth byte); Pillow brings the samples alone to 8 bits.
        depth = data[24]
        if isinstance(transparent, int) and depth < 8:
            image.info["transparency"] = transparent * 255 // ((1 << depth) - 1)
        elif isinstance(transparent, tuple) and depth == 16:
            image.info["transparency"] = tuple(sample >> 8 for sample in transparent)
    return image


def _open_jpeg(data: bytes, _limits: DecodeLimits) -> ImageFile.ImageFile:
    scans = data.count(b"\xff\xda")
    if scans > MAX_JPEG_SCANS:
        raise UnreadableImage(UnreadableCode.UNSUPPORTED, f"a JPEG of {scans} scans; at most {MAX_JPEG_SCANS} are decoded")
    return JpegImageFile(io.BytesIO(data))


def _open_bmp(data: bytes, _limits: DecodeLimits) -> ImageFile.ImageFile:
    image = BmpImageFile(io.BytesIO(data))
    if len(data) > MAX_RLE_BMP_BYTES and image.info.get("compression") in {1, 2}:
        raise UnreadableImage(
            UnreadableCode.UNSUPPORTED, f"a run-length encoded BMP of {len(data)} bytes; at most {MAX_RLE_BMP_BYTES} are decoded"
        )
    return image


def _open_gif(data: bytes, limits: DecodeLimits) -> ImageFile.ImageFile:
    # Pillow's own constructor allocates for the first frame, so both sizes are read here first.
    screen = struct.unpack_from("<HH", data, 6)
    _refuse_if_large(screen[0], screen[1], limits)
    position = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    while data[position] == 0x21:  # extension blocks stand before the first frame
        position += 2
        while data[position]:
            position += 1 + data[position]
        position += 1
    if data[position] == 0x2C:
        left, top, width, height = struct.unpack_from("<HHHH", data, position + 1)
        _refuse_if_large(max(left + width, screen[0]), max(top + height, screen[1]), limits)
    return GifImageFile(io.BytesIO(data))


def _open_webp(data: bytes, limits: DecodeLimits) -> ImageFile.ImageFile:
    # libwebp allocates its canvas when the file is opened, so the size is read here first (RFC 9649, sections 2.5 to 2.7).
    if data[8:12] != b"WEBP":
        raise _not_an_image(data)
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    _refuse_if_large(width, height, limits)
    return WebPImageFile(io.BytesIO(data))


# The first two bytes are told apart by a dictionary: cheaper than asking every plugin, and it names exactly what we read.
_OPENERS: dict[bytes, Callable[[bytes, DecodeLimits], Any]] = {
    b"\x89P": _open_png,
    b"\xff\xd8": _open_jpeg,
    b"BM": _open_bmp,
    b"GI": _open_gif,
    b"RI": _open_webp,
}


def _refuse_if_large(width: int, height: int, limits: DecodeLimits) -> None:
    if width * height > limits.max_pixels:
        raise UnreadableImage(UnreadableCode.TOO_LARGE, f"{width} x {height} pixels; at most {limits.max_pixels} pixels are decoded")


def _not_an_image(data: bytes) -> UnreadableImage:
    if not data:
        return UnreadableImage(UnreadableCode.UNDECODABLE, "the file is empty")
    return UnreadableImage(UnreadableCode.UNSUPPORTED, f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file")


def _one_line(error: Exception) -> str:
    """Pillow's message on one line, without the addresses it sometimes prints."""
    text = " ".join(str(error).split())[:200]
    return text or type(error).__name__
