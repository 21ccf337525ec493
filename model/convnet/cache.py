"""Decoded pictures on disk, keyed by content: a second training reads them as mapped files, however many there are.

```
<cache>/index/<folder>.json             which content each file of a data folder had when it was last read
<cache>/arrays/<size and decoder>/<contents>/   pixels.bin, digests.bin, card.json; written in a hidden folder, synced, renamed
```
Entries are never changed, so readers need no lock; one that is removed stays mapped by those who use it. Everything here may be deleted
at any time: it costs only the next training's time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL
import platformdirs

from convnet import files, images
from convnet.arrays import ArrayEntry, NewArrays
from convnet.images import ImageSpec

# Arrays not used lately are removed past this, except the one in use: ImageNet at 64 x 64 once, or Fashion-MNIST a thousand times.
DEFAULT_MAX_BYTES = 50 * 1024**3
# How many earlier arrays of the same size are searched for pictures that need not be decoded again.
_SEARCHED = 4
_ABANDONED_AFTER_S = 24 * 3600.0


def default_folder() -> Path:
    """CONVNET_CACHE_DIR, else this user's cache folder."""
    given = os.environ.get("CONVNET_CACHE_DIR")
    return Path(given) if given else platformdirs.user_cache_path("convnet-kafka") / "decoded"


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of decoded pictures; made when it is first written.

    Attributes:
        folder: on a disk of this machine; mapped files on a network volume work but are slow.
        max_bytes: the oldest arrays are removed past this.
    """

    folder: Path
    max_bytes: int = DEFAULT_MAX_BYTES

    def index_file(self, data: Path) -> Path:
        """Where the hashes of a data folder's files are kept."""
        where = hashlib.blake2b(os.fsencode(data.resolve()), digest_size=16).hexdigest()
        return self.folder / "index" / f"{where}.json"

    def forget(self, data: Path) -> None:
        """Forget the hashes of a data folder's files: they proved wrong."""
        self.index_file(data).unlink(missing_ok=True)

    def find(self, spec: ImageSpec, digests: Sequence[bytes]) -> ArrayEntry | None:
        """The arrays of exactly these pictures in this order, or None. Marks them as used."""
        return ArrayEntry.open(self._of_spec(spec) / _key(digests), spec)

    def similar(self, spec: ImageSpec) -> list[ArrayEntry]:
        """The arrays of this size used last, newest first: most of a changed folder's pictures are there."""
        entries = sorted(_entries(self._of_spec(spec)), key=_used_at, reverse=True)
        return [entry for path in entries[:_SEARCHED] if (entry := ArrayEntry.open(path, spec)) is not None]

    def create(self, spec: ImageSpec, digests: Sequence[bytes]) -> NewArrays:
        """Room for the arrays of these pictures. Raises OSError when there is none."""
        where = self._of_spec(spec)
        where.mkdir(parents=True, exist_ok=True)
        files.remove_older(where.glob(".new-*"), _ABANDONED_AFTER_S)
        return NewArrays.create(where / _key(digests), spec, digests)

    def trim(self, keep: Path) -> None:
        """Remove the arrays used longest ago until the rest fits the limit; `keep` stays whatever its size."""
        total = 0
        for path in sorted(self._all_entries(), key=lambda path: (path == keep, _used_at(path)), reverse=True):
            total += folder_bytes(path)
            if total > self.max_bytes and path != keep:
                shutil.rmtree(path, ignore_errors=True)

    def clear(self) -> None:
        """Remove everything."""
        for part in ("arrays", "index"):
            shutil.rmtree(self.folder / part, ignore_errors=True)

    def used_bytes(self) -> int:
        """Bytes on disk."""
        return folder_bytes(self.folder)

    def _all_entries(self) -> list[Path]:
        sizes = self.folder / "arrays"
        return [entry for where in (sizes.iterdir() if sizes.is_dir() else ()) for entry in _entries(where)]

    def _of_spec(self, spec: ImageSpec) -> Path:
        return self.folder / "arrays" / f"{spec.height}x{spec.width}x{spec.channels}-{_decoder()}"


def folder_bytes(folder: Path) -> int:
    """Bytes of all files under a folder; what vanishes meanwhile does not count."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(where) / name).stat().st_size
            except OSError:
                continue
    return total


def _decoder() -> str:
    """Names the code that makes pixels of bytes: this program's decode function as it stands, and Pillow's release."""
    source = hashlib.blake2b(Path(images.__file__).read_bytes(), digest_size=6).hexdigest()
    return f"pillow{PIL.__version__}-{source}"


def _key(digests: Sequence[bytes]) -> str:
    return hashlib.blake2b(b"".join(digests), digest_size=16).hexdigest()


def _entries(where: Path) -> list[Path]:
    return [path for path in where.iterdir() if not path.name.startswith(".")] if where.is_dir() else []


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
