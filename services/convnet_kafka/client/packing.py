"""From sources to batches: reads files and makes each a tar member. Runs in threads; keeps no state of its own."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from convnet_kafka.client.archives import MAX_FILE_BYTES, too_large
from convnet_kafka.client.label import UNREADABLE, Label, failure
from convnet_kafka.client.sources import Sources
from convnet_kafka.client.tarstream import END, member

# Taken from the sources at a time: few enough that what a full batch gives back is little.
_TAKE = 64
# What a slow source gave in so long is sent, however little it is.
_LONGEST_S = 1.0
# Written to the socket at a time.
_CHUNK_BYTES = 256 * 1024


@dataclass(slots=True)
class Batch:
    """Images that go in one request.

    Attributes:
        names: of the images.
        members: each one's header, content and padding.
        size: bytes of all members.
        attempts: times that the server could not say whether Kafka holds them.
    """

    names: list[str] = field(default_factory=list)
    members: list[bytes] = field(default_factory=list)
    size: int = 0
    attempts: int = 0

    def __len__(self) -> int:
        return len(self.names)

    @property
    def body_bytes(self) -> int:
        """Bytes of the request's body."""
        return self.size + len(END)

    def body(self) -> Iterator[bytes]:
        """The archive in pieces, put together only when they are sent, so that no image is in memory twice for long."""
        step = max(1, _CHUNK_BYTES * len(self.members) // max(1, self.size))
        for start in range(0, len(self.members), step):
            yield b"".join(self.members[start : start + step])
        yield END

    def only(self, names: Collection[str]) -> Batch:
        """The images with these names, of a batch that has been tried once more than this one."""
        kept = [(name, packed) for name, packed in zip(self.names, self.members, strict=True) if name in names]
        return Batch([name for name, _ in kept], [packed for _, packed in kept], sum(len(packed) for _, packed in kept), self.attempts + 1)

    def halves(self) -> list[Batch]:
        """The same images in two batches, for a request that was too large for somebody on the way."""
        middle = len(self) // 2
        parts = ((self.names[:middle], self.members[:middle]), (self.names[middle:], self.members[middle:]))
        return [Batch(names, members, sum(map(len, members)), self.attempts) for names, members in parts]


@dataclass(slots=True)
class Packed:
    """A batch and what could not be put into it. Without images: there are no more."""

    batch: Batch = field(default_factory=Batch)
    failures: list[Label] = field(default_factory=list)


def pack(sources: Sources, max_images: int, max_bytes: int, should_stop: Callable[[], bool] = lambda: False) -> Packed:
    """Read files until a batch is full, there are no more, or a source is so slow that what came is sent first. Empty only at the end.

    Args:
        sources: where to take images from.
        max_images: in the batch.
        max_bytes: of the batch; the image that reaches it is still in.
        should_stop: asked every few files, so that nobody waits for a slow disk.
    """
    packed = Packed()
    batch = packed.batch
    names, members = batch.names, batch.members
    until = 0.0
    while len(names) < max_images and batch.size < max_bytes and not should_stop():
        if not names:
            until = time.monotonic() + _LONGEST_S
        elif time.monotonic() > until:
            break
        items = sources.take(min(_TAKE, max_images - len(names)), hurry=bool(names))
        if not items:
            break
        for used, item in enumerate(items):
            if batch.size >= max_bytes:
                sources.put_back(items[used:])
                break
            if isinstance(item, Label):
                packed.failures.append(item)
                continue
            name, path, content = item
            outcome = content if content is not None else _read(name, path or name)
            if isinstance(outcome, Label):
                packed.failures.append(outcome)
                continue
            made = member(name, outcome)
            names.append(name)
            members.append(made)
            batch.size += len(made)
    return packed


def pick(sources: Sources, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The images with these names, read once more; those that are gone or cannot be read again are left out."""
    left = set(names)
    while left and (items := sources.take(_TAKE)):
        for item in items:
            if isinstance(item, Label) or item.name not in left:
                continue
            left.discard(item.name)
            content = item.content if item.content is not None else _read(item.name, item.path or item.name)
            if isinstance(content, bytes):
                yield item.name, content


def _read(name: str, path: str) -> bytes | Label:
    """A file's bytes, or why there are none. Four system calls and no object but the bytes: this is most of what an image costs here."""
    try:
        # A fifo that took the file's place meanwhile must not stop us.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return failure(name, UNREADABLE, "it is no longer a file")
            size = status.st_size
            if size > MAX_FILE_BYTES:
                return failure(name, *too_large(size))
            # One byte more tells that the file has grown since.
            content = os.read(descriptor, size + 1)
            if len(content) != size:
                content = _read_on(descriptor, content)
        finally:
            os.close(descriptor)
    except OSError as error:
        return failure(name, UNREADABLE, f"the file cannot be read: {error.strerror}")
    return content if len(content) <= MAX_FILE_BYTES else failure(name, *too_large(len(content)))


def _read_on(descriptor: int, content: bytes) -> bytes:
    """The rest of a file that grew or shrank while it was read, or whose file system reads in pieces."""
    parts = [content]
    held = len(content)
    while held <= MAX_FILE_BYTES and (part := os.read(descriptor, _CHUNK_BYTES)):
        parts.append(part)
        held += len(part)
    return b"".join(parts)
