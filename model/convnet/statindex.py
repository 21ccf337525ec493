"""Which content a file had when it was last read, so that a look at size, times and inode stands for reading it again."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from convnet import files
from convnet.progress import Progress

DIGEST_BYTES = 16

# Raised when the format changes: older files are then passed over.
_FORMAT = 1

# size, mtime_ns, ctime_ns, inode. The ctime cannot be set by programs: it betrays a file rewritten with its old mtime (rsync --times).
_Identity = tuple[int, int, int, int]


@dataclass(slots=True)
class StatIndex:
    """Digests of one folder's files. Used by several threads at once: each adds under its own key.

    Attributes:
        path: where it is kept; None keeps nothing.
        known: what was read from there: name to identity and digest.
        seen: what this look found, and what is saved.
    """

    path: Path | None = None
    known: dict[str, tuple[_Identity, bytes]] = field(default_factory=dict)
    seen: dict[str, tuple[_Identity, bytes]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> StatIndex:
        """Read an index; one that is missing, damaged or of another format is an empty one."""
        try:
            content = json.loads(path.read_bytes())
            if content["format"] != _FORMAT:
                return cls(path)
            return cls(path, {name: (tuple(identity), bytes.fromhex(hexed)) for name, (identity, hexed) in content["files"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(path)

    def save(self, progress: Progress) -> None:
        """Write what was seen, when it differs from what was known. A cache that cannot be written is a note, not an end."""
        if self.path is None or self.seen == self.known:
            return
        content = {"format": _FORMAT, "files": {name: (identity, found.hex()) for name, (identity, found) in self.seen.items()}}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(self.path, json.dumps(content).encode())
        except OSError as error:
            progress.note(f"cannot keep the hashes of files in {self.path.parent} ({error.strerror}); they are read again next time")


def digest(path: str, name: str, index: StatIndex, settled_before_ns: int, max_bytes: int) -> bytes | str:
    """BLAKE2b of a file's content, read only when the index does not know it; or why it cannot be read.

    Args:
        path: the file.
        name: its name in the index.
        index: asked first, told afterwards.
        settled_before_ns: a file changed after this is not entered, as its times might not show a further change.
        max_bytes: larger files are refused.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - a third cheaper than Path.stat, and this is all that a known file costs
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file"
        if status.st_size > max_bytes:
            return f"{status.st_size} bytes; at most {max_bytes} are read"
        identity = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        entry = index.known.get(name)
        if entry is None or entry[0] != identity:
            entry = (identity, content_digest(Path(path).read_bytes()))
        if max(status.st_mtime_ns, status.st_ctime_ns) < settled_before_ns:
            index.seen[name] = entry
        return entry[1]
    except OSError as error:
        return error.strerror or "unreadable"


def content_digest(data: bytes) -> bytes:
    """BLAKE2b, 16 bytes."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
