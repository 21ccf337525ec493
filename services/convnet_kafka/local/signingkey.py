"""The secret that signs job ids on this machine: made once, kept, readable by its owner alone."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from convnet_kafka.errors import LocalStackError

_KEY_BYTES = 32


def ensure_signing_key(path: Path) -> Path:
    """Make the key file if it is not there. Two that start at once agree on one.

    Raises:
        LocalStackError: the folder cannot be written.
    """
    if path.exists():
        return path
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            # As text: whoever reads it may strip blanks, which random bytes may end in.
            file.write(secrets.token_hex(_KEY_BYTES))
        # A link, not a rename: the first one stays.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(aside)
    except OSError as error:
        raise LocalStackError(f"the key file {path} cannot be written ({error.strerror}); choose another folder with --data") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
    return path
