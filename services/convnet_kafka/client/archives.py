"""Images in tar archives (plain, gzip, bzip2, xz) and zip archives, one in memory at a time."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

from convnet_kafka.client.label import TOO_LARGE, UNREADABLE

# The largest image any server can be set to take (settings.py); no larger file is read into memory.
MAX_FILE_BYTES = 256 * 1024 * 1024
_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_ZIP_ENDING = ".zip"
# What the standard library raises for an archive that is damaged, cut off, encrypted, or gone.
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, NotImplementedError)


class Unusable(NamedTuple):
    """Why a member cannot be sent."""

    code: str
    detail: str


def is_archive(path: str) -> bool:
    """Whether a file is taken as an archive, by its name."""
    return path.lower().endswith((*_TAR_ENDINGS, _ZIP_ENDING))


def members(path: str, file: IO[bytes] | None = None) -> Iterator[tuple[str, bytes | Unusable | None]]:
    """Names and contents in the archive's order; None for what is neither file nor folder. Folders are passed over.

    Args:
        path: the archive; its ending says the kind.
        file: what to read, opened, instead of the file at the path. A tar is read from start to end, a zip needs `seek`.

    Raises:
        Exception: one of DAMAGED.
    """
    return _zip_members(file or path) if path.lower().endswith(_ZIP_ENDING) else _tar_members(path, file)


def too_large(size: int) -> Unusable:
    """What is said of a file that no server can take."""
    return Unusable(TOO_LARGE, f"{size:,} bytes; no server takes more than {MAX_FILE_BYTES:,}")


def _tar_members(path: str, file: IO[bytes] | None) -> Iterator[tuple[str, bytes | Unusable | None]]:
    # "|": a stream, read once from start to end, which a pipe or a slow disk allows as well.
    with tarfile.open(path if file is None else None, "r|*", fileobj=file) as archive:
        for member in archive:
            # The archive remembers every member it has passed, which a million images would turn into gigabytes.
            archive.members.clear()  # type: ignore[attr-defined]  # typeshed knows only getmembers()
            if member.isdir():
                continue
            file = archive.extractfile(member) if member.isreg() else None
            if file is None:
                yield member.name, None
            elif member.size > MAX_FILE_BYTES:
                yield member.name, too_large(member.size)
            else:
                yield member.name, file.read()


def _zip_members(source: str | IO[bytes]) -> Iterator[tuple[str, bytes | Unusable | None]]:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            if member.file_size > MAX_FILE_BYTES:
                yield member.filename, too_large(member.file_size)
                continue
            try:
                # zipfile reads no further than the size it was told, so that a bomb stays what it says it is.
                yield member.filename, archive.read(member)
            except RuntimeError as error:  # encrypted
                yield member.filename, Unusable(UNREADABLE, str(error))
