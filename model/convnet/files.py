"""Files that others see whole or not at all, also after a crash and on a network volume."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def write_new(path: Path, data: bytes) -> None:
    """Write a file that nobody looks at yet, and bring it to the disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, data: bytes) -> None:
    """Write aside, bring to the disk, rename: a reader sees the old contents or the new, never a mixture."""
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        write_new(aside, data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Bring a file that another library wrote to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_older(folders: Iterable[Path], age_s: float) -> None:
    """Remove folders that nothing was added to for so long; others may remove them at the same time."""
    for folder in folders:
        try:
            age = time.time() - folder.stat().st_mtime
        except FileNotFoundError:
            continue
        if age > age_s:
            shutil.rmtree(folder, ignore_errors=True)


# A rename is durable once the folder is; folders are synced exactly as files are.
sync_folder = sync_file


@contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[bool]:
    """Hold an exclusive lock on a file while the block runs; the kernel frees it when the process dies, however it dies.

    Args:
        path: the lock's file; made when missing, never removed (removing it would let two holders in).
        timeout_s: seconds to wait for another holder, 0 for one try.

    Yields:
        True while the lock is held; False when another held it all the time.
    """
    deadline = time.monotonic() + timeout_s
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while not (held := _try_lock(descriptor)) and time.monotonic() < deadline:
            time.sleep(0.005)
        yield held
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
