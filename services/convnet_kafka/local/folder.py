"""A broker's data folder: who uses it now, and whether it may be used.

The lock is on an open file that the broker's process inherits: it holds for as long as either we or the broker live, whatever way
one of them ended. The owner file only says whom to name.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import psutil

from convnet_kafka.errors import LocalStackError

if sys.platform != "win32":
    import fcntl

_LOCK_FILE = "broker.lock"
_OWNER_FILE = "broker.json"
# A broker whose owner was killed is told to end by the system and needs about a second for it.
_ORPHAN_DEADLINE_S = 10.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Owner:
    """Who runs a broker on a folder.

    Attributes:
        owner_pid: process that started the broker.
        broker_pid: the broker's process.
        port: the broker's port.
    """

    owner_pid: int
    broker_pid: int
    port: int


class FolderLock:
    """The exclusive use of one data folder. Taken with `acquire`, inherited by the broker through `fd`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd: int | None = None

    @property
    def fd(self) -> int:
        """The descriptor for the broker's process to inherit.

        Raises:
            LocalStackError: the lock is not held.
        """
        if self._fd is None:
            raise LocalStackError(f"the data folder {self._folder} is not locked by this process")
        return self._fd

    def acquire(self) -> None:
        """Take the lock, creating the folder. Waits only for a broker whose owner is gone, which is about to end.

        Raises:
            LocalStackError: a running broker uses the folder, or it cannot be written.
        """
        if sys.platform == "win32":
            raise LocalStackError("the local Kafka runs on Linux and macOS; on Windows use WSL, or set KAFKA_BOOTSTRAP_SERVERS")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LocalStackError(
                f"the data folder {self._folder} cannot be written ({error.strerror}); make it writable or choose another with --data"
            ) from error
        deadline = time.monotonic() + _ORPHAN_DEADLINE_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = self.owner()
                orphaned = owner is not None and self._is_gone(owner)
                if not orphaned or time.monotonic() > deadline:
                    os.close(fd)
                    raise LocalStackError(self._in_use(owner, orphaned=orphaned)) from None
                time.sleep(_POLL_S)
            else:
                self._fd = fd
                return

    def release(self) -> None:
        """Give the lock up; does nothing when it is not held."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        self._owner_path.unlink(missing_ok=True)
        if sys.platform != "win32":
            # Unlocked, not only closed: a forked child of ours may hold the same open file.
            fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)

    def write_owner(self, owner: Owner) -> None:
        """Say who uses the folder, for the next one's error message."""
        aside = self._owner_path.with_suffix(".tmp")
        aside.write_bytes(orjson.dumps(asdict(owner)))
        aside.replace(self._owner_path)

    def owner(self) -> Owner | None:
        """Return who said to use the folder, or None when nobody did."""
        with contextlib.suppress(OSError, orjson.JSONDecodeError, TypeError):
            return Owner(**orjson.loads(self._owner_path.read_bytes()))
        return None

    @staticmethod
    def _is_gone(owner: Owner) -> bool:
        """Whether the owner has ended, or is about to: when we are a container's first process, so was it, in a pod that ours replaces."""
        return owner.owner_pid == os.getpid() == 1 or not psutil.pid_exists(owner.owner_pid)

    @property
    def _owner_path(self) -> Path:
        return self._folder / _OWNER_FILE

    def _in_use(self, owner: Owner | None, *, orphaned: bool) -> str:
        if owner is None:
            return f"the data folder {self._folder} is in use by another broker that is just starting; choose another with --data"
        if orphaned:
            return (
                f"the data folder {self._folder} is in use by a broker that was left behind (process {owner.broker_pid}); "
                f"end it with `kill {owner.broker_pid}` and try again"
            )
        return (
            f"the data folder {self._folder} is in use by the broker on port {owner.port} (process {owner.broker_pid}, started by "
            f"{owner.owner_pid}); use that one, stop it, or choose another folder with --data"
        )
