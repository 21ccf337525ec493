"""A note in the data folder of what `up` runs there, so that other commands find it. Written when all is started, gone when it ends."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import platformdirs

_FILE = "stack.json"
# Addresses and paths are nobody else's business.
_MODE = 0o600


@dataclass(frozen=True, slots=True)
class StackNote:
    """What runs.

    Attributes:
        owner_pid: process of `up`.
        bootstrap_servers: Kafka's address.
        topic_prefix: of the topics.
        endpoints: URL by name: `server`, `classifier-1` and so on.
        models: folder of the model registry.
        signing_key: file of the key that signs job ids.
    """

    owner_pid: int
    bootstrap_servers: str
    topic_prefix: str
    endpoints: dict[str, str]
    models: str
    signing_key: str


def default_data_dir() -> Path:
    """The per-user folder of the local stack (`XDG_DATA_HOME` moves it)."""
    return platformdirs.user_data_path("convnet-kafka")


def write(folder: Path, note: StackNote) -> None:
    """Leave the note, in one step."""
    aside = folder / f".{_FILE}.{os.getpid()}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(asdict(note)))
    aside.replace(folder / _FILE)


def take_away(folder: Path) -> None:
    """Remove our own note; another stack's stays."""
    note = _read(folder)
    if note is not None and note.owner_pid == os.getpid():
        with contextlib.suppress(OSError):
            (folder / _FILE).unlink()


def running(folder: Path) -> StackNote | None:
    """The note of a stack that runs on this folder, or None. One that was killed leaves its note behind, which says nothing."""
    note = _read(folder)
    if note is None:
        return None
    try:
        os.kill(note.owner_pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # another user's, and alive
    return note


def _read(folder: Path) -> StackNote | None:
    try:
        return StackNote(**orjson.loads((folder / _FILE).read_bytes()))
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None
