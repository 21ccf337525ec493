"""Every format and mode decodes to the right pixels; every hostile file is refused by an UnreadableImage and nothing else."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from convnet.errors import UnreadableCode, UnreadableImage
from convnet.images import DecodeLimits, ImageSpec, decode

GREY = ImageSpec(24, 16, 1)
RGB = ImageSpec(24, 16, 3)
FORMATS = ["PNG", "JPEG", "BMP", "GIF", "WEBP"]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def gradient(mode: str = "RGB", height: int = 24, width: int = 16) -> Image.Image:
    """Smooth, so that lossy formats stay close; different in every channel and along both axes."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x * 255 // width, y * 255 // height
    return Image.fromarray(np.stack([red, green, 255 - red], axis=2).astype(np.uint8)).convert(mode)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def refused(data: bytes, spec: ImageSpec = GREY, limits: DecodeLimits | None = None) -> UnreadableImage:
    with pytest.raises(UnreadableImage) as caught:
        decode(data, spec, limits or DecodeLimits())
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("spec", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_format_gives_the_picture_in_both_colour_settings(kind: str, spec: ImageSpec, mode: str) -> None:
    picture = gradient(mode)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    pixels = decode(encoded(picture, kind, **options), spec)
    assert (pixels.dtype, pixels.shape) == (np.uint8, spec.shape)
    expected = np.asarray(picture.convert("L" if spec.channels == 1 else "RGB"), int).reshape(spec.shape)
    tolerance = {"JPEG": 12, "GIF": 40 if mode == "RGB" else 0}.get(kind, 0)
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_of_another_size_is_resized(kind: str) -> None:
    pixels = decode(encoded(gradient(height=120, width=50), kind), RGB)
    assert pixels.shape == RGB.shape
    assert np.abs(pixels.astype(int) - np.asarray(gradient(), int)).max() <= 45


def test_large_jpeg_photo_is_decoded_small_and_still_true() -> None:
    assert np.abs(decode(encoded(gradient(height=2400, width=1600), "JPEG"), RGB).astype(int) - np.asarray(gradient(), int)).max() <= 14


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(24, 16), (48, 64)], ids=["fits", "resized"])
def test_exif_orientation_turns_the_picture(orientation: int, kind: str, size: tuple[int, int]) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = encoded(gradient("L", *size).convert("RGB"), kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("L").resize((16, 24), Image.Resampling.BILINEAR)
    assert np.abs(decode(data, GREY)[..., 0].astype(int) - np.asarray(upright, int)).max() <= 10


def test_damaged_exif_turns_nothing() -> None:
    data = encoded(gradient("L"), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x01\x02")
    assert np.array_equal(decode(data, GREY)[..., 0], np.asarray(gradient("L")))


def hidden_colour(mode: str) -> Image.Image:
    """Left half black and opaque, right half a bright colour that transparency hides."""
    pixels = np.zeros((24, 16, 4), np.uint8)
    pixels[:, :8, 3] = 255
    pixels[:, 8:] = (255, 0, 0, 0)
    image = Image.fromarray(pixels)
    return image if mode == "RGBA" else image.convert(mode)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("spec", [GREY, RGB], ids=["grey", "rgb"])
def test_transparency_shows_white_never_the_hidden_colour(kind: str, mode: str, spec: ImageSpec) -> None:
    pixels = decode(encoded(hidden_colour(mode), kind, **({"lossless": True} if kind == "WEBP" else {})), spec)
    assert (pixels[:, :8] == 0).all()
    assert (pixels[:, 8:] == 255).all()


def test_half_transparent_is_mixed_with_white() -> None:
    half = Image.new("RGBA", (16, 24), (0, 0, 0, 128))
    assert np.abs(decode(encoded(half), GREY).astype(int) - 127).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
@pytest.mark.parametrize("spec", [GREY, RGB], ids=["grey", "rgb"])
def test_transparent_palette_entry_shows_white(kind: str, spec: ImageSpec) -> None:
    image = Image.new("P", (16, 24), 1)
    image.putpalette([255, 0, 0, 0, 0, 0])
    image.paste(0, (8, 0, 16, 24))
    pixels = decode(encoded(image, kind, transparency=0), spec)
    assert (pixels[:, :8] == 0).all()
    assert (pixels[:, 8:] == 255).all()


@pytest.mark.parametrize(
    ("depth", "colour", "row", "transparent"),
    [
        (8, 0, bytes([0] * 8 + [90] * 8), struct.pack(">H", 90)),
        (8, 2, bytes([0, 0, 0] * 8 + [9, 8, 7] * 8), struct.pack(">HHH", 9, 8, 7)),
        (16, 0, struct.pack(">16H", *[0] * 8, *[9000] * 8), struct.pack(">H", 9000)),
        (16, 2, struct.pack(">48H", *[0] * 24, *[9000] * 24), struct.pack(">HHH", 9000, 9000, 9000)),
        (2, 0, bytes([0, 0, 0b10101010, 0b10101010]), struct.pack(">H", 2)),
        (1, 0, bytes([0b11111111, 0]), struct.pack(">H", 0)),
    ],
    ids=["grey8", "rgb8", "grey16", "rgb16", "grey2", "bits"],
)
@pytest.mark.parametrize("spec", [GREY, RGB], ids=["grey", "rgb"])
def test_png_transparent_colour_of_every_depth_shows_white(
    depth: int, colour: int, row: bytes, transparent: bytes, spec: ImageSpec
) -> None:
    pixels = decode(png(16, 24, depth, colour, (b"\0" + row) * 24, png_chunk(b"tRNS", transparent)), spec)
    assert (pixels[:, 8:] == 255).all()
    assert (pixels[:, :8] == (255 if depth == 1 else 0)).all()


def test_sixteen_bits_become_eight_by_scaling() -> None:
    values = np.linspace(0, 65535, 24 * 16).astype(np.uint16).reshape(24, 16)
    pixels = decode(encoded(Image.fromarray(values)), GREY)
    assert np.array_equal(pixels[..., 0], np.rint(values / 257).astype(np.uint8))
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_cmyk_jpeg_keeps_its_colours() -> None:
    data = encoded(gradient("RGB").convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decode(data, RGB).astype(int) - np.asarray(gradient(), int)).max() <= 14


@pytest.mark.parametrize("mode", ["P", "1"])
def test_palette_and_bilevel_pictures(mode: str) -> None:
    image = gradient().convert(mode)
    assert np.array_equal(decode(encoded(image), RGB), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (16, 24), colour) for colour in ("black", "white", "red")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert (decode(data, GREY) < 3).all()


def test_grey_and_rgb_of_one_grey_picture_agree() -> None:
    data = encoded(gradient("L"))
    assert np.array_equal(decode(data, RGB), np.repeat(decode(data, GREY), 3, axis=2))


def test_name_and_extension_play_no_part_and_a_wrong_one_is_unsupported() -> None:
    assert refused(b"%PDF-1.7 this is called cat.png").code == UnreadableCode.UNSUPPORTED
    assert refused(encoded(gradient(), "TIFF")).code == UnreadableCode.UNSUPPORTED
    assert refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>").code == "unsupported"


def test_empty_file_is_undecodable() -> None:
    error = refused(b"")
    assert (error.code, str(error)) == ("undecodable", "the file is empty")


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_anywhere_is_refused_or_whole(kind: str) -> None:
    data = encoded(gradient(height=60, width=40), kind)
    whole = decode(data, GREY)
    for length in sorted({*range(0, len(data), max(1, len(data) // 150)), len(data) - 1}):
        try:
            pixels = decode(data[:length], GREY)
        except UnreadableImage as error:
            assert error.code in {"undecodable", "unsupported"}  # noqa: PT017 - either is right, which one depends on the cut
        else:
            # Only what follows the pixels was missing.
            assert np.array_equal(pixels, whole)


@pytest.mark.parametrize("kind", FORMATS)
def test_half_a_file_is_undecodable(kind: str) -> None:
    data = encoded(gradient(height=60, width=40), kind)
    assert refused(data[: len(data) // 2]).code == "undecodable"


@pytest.mark.parametrize("kind", FORMATS)
def test_flipped_bytes_never_escape_as_another_exception(kind: str) -> None:
    random = np.random.default_rng(7)
    original = encoded(gradient(height=40, width=30), kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for _ in range(300):
            data = bytearray(original)
            for position in random.integers(0, min(len(data), 200 if random.random() < 0.5 else len(data)), random.integers(1, 8)):
                data[position] = random.integers(0, 256)
            try:
                pixels = decode(bytes(data), RGB, DecodeLimits(max_pixels=1_000_000))
            except UnreadableImage:
                continue
            assert pixels.shape == RGB.shape


@pytest.mark.parametrize("magic", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"GIF89a", b"RIFF\x40\0\0\0WEBPVP8 "])
def test_random_bytes_are_refused(magic: bytes) -> None:
    random = np.random.default_rng(11)
    for length in (1, 2, 10, 100, 1000):
        assert refused(magic + random.bytes(length)).code in {"undecodable", "unsupported", "too-large"}


def bomb(kind: str) -> bytes:
    """A file of a few bytes or kilobytes that claims 50,000 x 50,000 pixels (16,383 a side for WebP, its largest)."""
    if kind == "PNG":
        return png(50_000, 50_000, 8, 2, b"\0" * 100_000)
    if kind == "GIF":
        return (
            b"GIF89a" + struct.pack("<HHBBB", 50_000, 50_000, 0x80, 0, 0) + bytes(6) + b"," + struct.pack("<HHHHB", 0, 0, 50_000, 50_000, 0)
        )
    if kind == "GIF frame":
        return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6) + b"," + struct.pack("<HHHHB", 0, 0, 50_000, 50_000, 0)
    if kind == "BMP":
        return b"BM" + struct.pack("<IIIIiiHHIIIIII", 100, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0)
    if kind == "WEBP":
        header = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (50_000 - 1).to_bytes(3, "little") * 2
        return b"RIFF" + struct.pack("<I", 4 + len(header)) + b"WEBP" + header
    data = bytearray(encoded(gradient(), "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", 50_000, 50_000)
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "GIF frame", "BMP", "WEBP", "JPEG"])
def test_a_bomb_is_too_large_at_once_and_costs_no_memory(kind: str) -> None:
    data = bomb(kind)
    tracemalloc.start()
    started = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            error = refused(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.code == "too-large"
    assert "50000 x 50000" in str(error)
    assert time.monotonic() - started < 0.5
    assert peak < 5_000_000


def test_too_many_bytes_are_refused_before_anything_is_looked_at() -> None:
    assert refused(encoded(gradient()), GREY, DecodeLimits(max_bytes=50)).code == "too-large"


def test_the_pixel_limit_is_ours_not_pillows() -> None:
    data = encoded(gradient(height=60, width=40))
    assert decode(data, GREY, DecodeLimits(max_pixels=2400)).shape == GREY.shape
    assert refused(data, GREY, DecodeLimits(max_pixels=2399)).code == "too-large"


def test_jpeg_of_thousands_of_scans_is_refused_quickly() -> None:
    data = encoded(gradient(height=600, width=400), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert refused(data[:-2] + scan * 200 + b"\xff\xd9").code == "unsupported"
    assert decode(data, GREY).shape == GREY.shape


def test_large_run_length_bmp_is_refused() -> None:
    header = struct.pack("<IIIIiiHHIIIIII", 0, 0, 54 + 1024, 40, 5000, 5000, 1, 8, 1, 0, 0, 0, 256, 0)
    palette = b"".join(bytes([i, 0, i, 0]) for i in range(256))
    assert refused(b"BM" + header + palette + b"\1\5" * 600_000).code == "unsupported"


def test_an_unreadable_image_survives_pickling() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(refused(b"")))
    assert (error.code, str(error)) == ("undecodable", "the file is empty")


@pytest.mark.parametrize(("height", "width", "channels"), [(0, 1, 1), (1, 0, 3), (8, 8, 2), (8, 8, 4)])
def test_impossible_specs_are_refused(height: int, width: int, channels: int) -> None:
    with pytest.raises(ValueError, match="an image"):
        ImageSpec(height, width, channels)
