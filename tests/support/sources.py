"""What is found in sources: images by name, and failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convnet_kafka.client.label import Label
from convnet_kafka.client.packing import pack
from convnet_kafka.client.sources import Sources
from convnet_kafka.client.tarstream import END, member
from support.fake_server import untar

CATS = {"cats/1.png": b"one", "cats/2.png": b"two"}


def found(*paths: Any) -> dict[str, bytes]:
    """Names and contents as they would be sent, in order."""
    return sent(paths)


def sent(given: Any) -> dict[str, bytes]:
    """The same of whatever else a caller may hand over."""
    sources, names = Sources(given), {}
    while (packed := pack(sources, 10_000, 10**9)).batch.names:
        assert packed.failures == []
        names |= dict(untar(b"".join(packed.batch.body())))
    return names


def failures(*paths: Any) -> list[Label]:
    return pack(Sources(paths), 10_000, 10**9).failures


def tarred(contents: dict[str, bytes]) -> bytes:
    return b"".join(member(name, content) for name, content in contents.items()) + END


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
