"""Training data behind an address: a tar or zip of class folders is fetched, checked, and unpacked below one folder.

For where no volume holds them, as in a trainer's first container. Unpacks regular files alone, and never outside of the folder.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from convnet_kafka.errors import ConvnetKafkaError, SettingsError

# Seconds without a byte until a download counts as broken; whoever runs this tries again.
_SILENT_S = 60.0
_CHUNK = 1024 * 1024


class ArchiveError(ConvnetKafkaError):
    """The archive cannot be had, or is not what was asked for."""


def fetch(url: str, folder: Path, *, sha256: str = "") -> int:
    """Fetch an archive and unpack it; returns how many files it held.

    A single folder at its top is left out: `pictures/cat/1.jpg` becomes `cat/1.jpg`.

    Args:
        url: `http://` or `https://`, of a tar (also .gz, .bz2, .xz) or a zip.
        folder: where the class folders shall be; must not hold anything yet.
        sha256: of the archive, 64 hex digits; empty: not checked.

    Raises:
        SettingsError: the address or the folder cannot be used.
        ArchiveError: the download failed, or another archive came than the one asked for, or none.
    """
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"{url} is no address of an archive: http:// and https:// are known")
    if folder.exists() and any(folder.iterdir()):
        raise SettingsError(f"{folder} is not empty: name another folder, or empty this one")
    folder.mkdir(parents=True, exist_ok=True)
    # Beside the folder and not in it: what is renamed into it must lie on the same volume, what is read for training must not hold it.
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as aside:
        archive, unpacked = Path(aside) / "archive", Path(aside) / "unpacked"
        digest = _download(url, archive)
        if sha256 and digest != sha256.lower():
            raise ArchiveError(f"{url} has the SHA-256 {digest}, not {sha256}: it is another file than the one that was meant")
        files = _unpack(archive, unpacked, url)
        for entry in _top(unpacked).iterdir():
            entry.rename(folder / entry.name)
    return files


def _download(url: str, target: Path) -> str:
    """Write what the address gives into a file; returns its SHA-256."""
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=_SILENT_S) as response, target.open("wb") as file:  # noqa: S310 - http and https only
            while chunk := response.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
    except urllib.error.HTTPError as error:
        raise ArchiveError(f"{url} cannot be fetched: the server answered {error.code} {error.reason}") from error
    except OSError as error:
        raise ArchiveError(f"{url} cannot be fetched: {getattr(error, 'reason', None) or error}") from error
    return digest.hexdigest()


def _unpack(archive: Path, folder: Path, url: str) -> int:
    folder.mkdir()
    count = 0
    try:
        for name, content in _files(archive):
            target = folder / _inside(name, url)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(content, file, _CHUNK)
            count += 1
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ArchiveError(f"{url} is no whole tar or zip: {error}") from error
    except OSError as error:
        raise ArchiveError(f"{url} cannot be unpacked into {folder.parent.parent}: {error.strerror or error}") from error
    if count == 0:
        raise ArchiveError(f"{url} holds no files")
    return count


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each regular file; links, devices and folders are passed over."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if not info.is_dir():
                    with packed.open(info) as content:
                        yield info.filename, content
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file


def _inside(name: str, url: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ArchiveError(f"{url} holds {name!r}, which leads out of it: nothing was unpacked")
    return path


def _top(folder: Path) -> Path:
    """The folder of the class folders: a single folder of folders at the top is only a wrapping."""
    entries = list(folder.iterdir())
    only = entries[0] if len(entries) == 1 and entries[0].is_dir() else None
    return only if only is not None and all(entry.is_dir() for entry in only.iterdir()) else folder
