"""Compressed bodies come out as they went in, in bounded pieces; bombs, damage and cuts are told."""

from __future__ import annotations

import gzip
import random
import sys

import pytest

from convnet_kafka.server.decompress import PIECE, ZSTD_MEMORY, Unpacking
from convnet_kafka.server.members import BodyError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN = random.Random(3).randbytes(300_000) + bytes(700_000)


def unpack(data: bytes, step: int) -> bytes:
    unpacking = Unpacking()
    pieces = [piece for at in range(0, len(data), step) for piece in unpacking.feed(data[at : at + step])]
    return b"".join(pieces) + unpacking.finish()


@pytest.mark.parametrize("step", [1 << 20, 65_536, 777])
@pytest.mark.parametrize(
    "packed",
    [
        PLAIN,
        gzip.compress(PLAIN),
        gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:]) + bytes(512),
        zstd.compress(PLAIN),
        zstd.compress(PLAIN[:1000]) + zstd.compress(PLAIN[1000:]),
        b"\x1f",
    ],
    ids=["plain", "gzip", "gzip members", "zstd", "zstd frames", "one byte"],
)
def test_what_was_packed_comes_out(packed: bytes, step: int) -> None:
    assert unpack(packed, step) == (packed if packed == b"\x1f" else PLAIN)


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_bomb_comes_out_in_pieces_between_which_one_can_stop(pack: object) -> None:
    bomb = pack(bytes(50_000_000))  # type: ignore[operator]
    unpacking = Unpacking()
    first = next(piece for piece in unpacking.feed(bomb) if piece)
    assert len(first) <= PIECE


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_cut_and_damage_are_told(pack: object) -> None:
    packed = pack(PLAIN)  # type: ignore[operator]
    with pytest.raises(BodyError, match="cut off"):
        unpack(packed[:-9], 1000)
    with pytest.raises(BodyError, match="damaged"):
        unpack(packed[:6] + b"\xff" * 50 + packed[56:], 1000)


def test_thousands_of_empty_members_are_no_more_than_their_bytes() -> None:
    assert unpack(gzip.compress(b"") * 20_000, 1 << 20) == b""


def test_a_zstd_window_that_would_cost_memory_is_refused() -> None:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    with pytest.raises(BodyError, match="--long"):
        unpack(packer.compress(bytes(30_000_000)) + packer.flush(), 65_536)
    unpacking = Unpacking()
    list(unpacking.feed(zstd.compress(PLAIN)[:100]))
    assert unpacking.memory == ZSTD_MEMORY
