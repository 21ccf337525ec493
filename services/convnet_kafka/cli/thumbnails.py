"""Small pictures as text for a page, made with Pillow: here and not in the client, which installs without it."""

from __future__ import annotations

import base64
import importlib.util
import io
import warnings

from convnet_kafka.errors import SettingsError

# Two times the size they are shown at, for screens with dense pixels.
_SIDE = 160
# The largest picture that is opened: what a classifier decodes at most is smaller, and a bomb is far larger.
_MOST_PIXELS = 100_000_000
_QUALITY = 70


def check() -> None:
    """Say what is missing before anything is sent.

    Raises:
        SettingsError: Pillow is not installed.
    """
    if importlib.util.find_spec("PIL") is None:
        raise SettingsError("a report with thumbnails needs Pillow: pip install 'convnet-kafka[report]', or leave out --report")


def data_uri(content: bytes) -> tuple[str, bool] | None:
    """A picture as text for an `src` attribute, and whether it is tiny and should be shown with its pixels; None if it cannot be read."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - an extra

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd about a picture is not the reader's concern
            with Image.open(io.BytesIO(content)) as image:
                if image.width * image.height > _MOST_PIXELS:
                    return None
                # A JPEG is decoded at a fraction of its size.
                image.draft("RGB", (2 * _SIDE, 2 * _SIDE))
                upright = ImageOps.exif_transpose(image)
                transparent = "transparency" in upright.info or upright.mode in {"RGBA", "LA", "PA"}
                picture = upright.convert("RGBA" if transparent else "RGB")
        tiny = max(picture.size) <= _SIDE // 2
        if not tiny:
            picture.thumbnail((_SIDE, _SIDE))
        return _encoded(picture, lossless=tiny), tiny
    except Exception:  # noqa: BLE001 - decoders raise what they like, and a picture that cannot be shown is named all the same
        return None


def _encoded(picture: object, *, lossless: bool) -> str:
    from PIL import Image, features  # noqa: PLC0415 - an extra

    assert isinstance(picture, Image.Image)  # noqa: S101 - for the type checker: the annotation would need Pillow
    file = io.BytesIO()
    if features.check("webp"):
        picture.save(file, "WEBP", quality=_QUALITY, lossless=lossless, method=4)
        kind = "webp"
    elif lossless:
        picture.save(file, "PNG", optimize=True)
        kind = "png"
    else:
        picture.convert("RGB").save(file, "JPEG", quality=_QUALITY)
        kind = "jpeg"
    return f"data:image/{kind};base64," + base64.b64encode(file.getvalue()).decode()
