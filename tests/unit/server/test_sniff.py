"""What is let through as a picture by its first bytes."""

from __future__ import annotations

import io

import pytest

from convnet_kafka.server.sniff import not_a_picture, picture_type

PIL_IMAGE = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize(("kind", "content_type"), [(k, f"image/{k.lower()}") for k in ("PNG", "JPEG", "GIF", "WebP", "BMP")])
def test_real_pictures_are_known(kind: str, content_type: str) -> None:
    out = io.BytesIO()
    PIL_IMAGE.new("RGB", (3, 2)).save(out, kind)
    assert picture_type(out.getvalue()) == content_type


@pytest.mark.parametrize(
    "content",
    [b"", b"BM", b"BMW is a car, not a picture", b"RIFF1234WAVE", b"%PDF-1.7", b"<svg/>", b"II*\0", b"\xff\xd8", b"\x89PN"],
)
def test_everything_else_is_refused_with_its_first_bytes(content: bytes) -> None:
    assert picture_type(content) is None
    assert repr(content[:8]) in not_a_picture(content)
