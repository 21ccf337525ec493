"""The keys that a running server knows: read at the start, read again when their file changes, kept when the new file is broken.

A mounted Secret is a link to a folder that Kubernetes swaps: the file's inode changes with it. Times lie on some network volumes, so the
content itself is compared now and then.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from convnet_kafka import apikeys
from convnet_kafka.apikeys import Key, KeyFile
from convnet_kafka.errors import SettingsError

logger = structlog.get_logger(__name__)

# How late a revoked key stops working at most, once the file has changed here.
POLL_S = 1.0
# How late where the file's inode, size and times tell nothing.
READ_S = 15.0

_Signature = tuple[int, int, int, int]


class Keyring:
    """All keys of one file.

    Args:
        path: of the file.
        on_change: called with the new keys after each change.

    Attributes:
        keys: what was read last.
    """

    def __init__(self, path: Path, on_change: Callable[[KeyFile], None] | None = None) -> None:
        self._path = path
        self._on_change = on_change
        self._signature: _Signature | None = None
        self._content = b""
        self._read_at = float("-inf")
        self._complained = ""
        self._names: dict[str, str] = {}
        self.keys = KeyFile()

    def load(self) -> None:
        """Read the file for the first time.

        Raises:
            SettingsError: it cannot be read, is broken, or holds no key at all.
        """
        found = apikeys.read(self._path)
        if not found.keys:
            raise SettingsError(f"the keys file {self._path} holds no key: make one with: convnet-kafka keys add NAME --file {self._path}")
        self._adopt(found)

    def find(self, text: str) -> tuple[str, Key] | None:
        """The key that a caller sent, with its name, whatever its state; None when it is nobody's or that text of it is over."""
        digest = apikeys.digest(text)
        # Looked up by a hash that nobody can choose, so how long this takes tells nothing of any key.
        name = self._names.get(digest)
        if name is None:
            return None
        key = self.keys.keys[name]
        for secret in key.secrets:
            if hmac.compare_digest(secret.sha256, digest) and (secret.expires is None or apikeys.now() < secret.expires):
                return name, key
        return None

    async def keep_reading(self) -> None:
        """Follow the file until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            # A volume that hangs must not hang the server.
            found = await asyncio.to_thread(self._look)
            if found is not None and found != self.keys:
                self._adopt(found)
                logger.info("keys read again", file=str(self._path), keys=len(found.keys))

    def _look(self) -> KeyFile | None:
        """The keys when the file has changed and is sound; touches nothing but the notes of what was seen."""
        try:
            status = self._path.stat()
            signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if signature == self._signature and time.monotonic() - self._read_at < READ_S:
                return None
            raw = self._path.read_bytes()
            content = hashlib.sha256(raw).digest()
            self._signature, self._read_at = signature, time.monotonic()
            if content == self._content:
                return None
            found = apikeys.parse(raw, self._path)
            self._content = content
        except (OSError, SettingsError) as error:
            self._complain(str(error))
            return None
        self._complained = ""
        return found

    def _complain(self, why: str) -> None:
        if why != self._complained:
            logger.error("the keys file is broken: the keys read before stay in use", file=str(self._path), error=why)
        self._complained = why

    def _adopt(self, found: KeyFile) -> None:
        self._names = {secret.sha256: name for name, key in found.keys.items() for secret in key.secrets}
        self.keys = found
        if self._on_change is not None:
            self._on_change(found)
