"""Large JPEGs are decoded at a fraction of their size, in training and in serving alike, because both call the one function."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from convnet import decoding, library
from convnet.images import ImageSpec, decode
from convnet_kafka.classifier import results

SPEC = ImageSpec(28, 28, 3)


def jpeg(width: int, height: int) -> bytes:
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    buffer = io.BytesIO()
    Image.fromarray(np.stack([across, down, 255 - across], axis=2).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture
def drafts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Sizes that JPEGs are read at after `draft`."""
    found: list[tuple[int, int]] = []
    original = JpegImageFile.draft

    def spy(self: JpegImageFile, mode: str | None, size: tuple[int, int] | None) -> object:
        answer = original(self, mode, size)
        found.append(self.size)
        return answer

    monkeypatch.setattr(JpegImageFile, "draft", spy)
    return found


@pytest.mark.parametrize(("size", "read_at"), [((640, 427), [(160, 107)]), ((240, 160), [(120, 80)]), ((100, 80), [])])
def test_a_large_jpeg_is_read_small_and_never_below_twice_the_network_s_size(
    size: tuple[int, int], read_at: list[tuple[int, int]], drafts: list[tuple[int, int]]
) -> None:
    assert decode(jpeg(*size), SPEC).shape == SPEC.shape
    assert drafts == read_at


def test_what_is_read_small_looks_the_same() -> None:
    content = jpeg(1600, 1200)
    whole = Image.open(io.BytesIO(content)).convert("RGB").resize((28, 28), Image.Resampling.BILINEAR)
    assert np.abs(decode(content, SPEC).astype(int) - np.asarray(whole, int)).max() <= 6


def test_training_and_serving_decode_with_the_same_function() -> None:
    assert decoding.decode is decode
    assert results.decode is decode
    assert library.decode is decode
