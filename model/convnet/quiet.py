"""Keep what TensorFlow and LiteRT print about themselves away from the user; errors still arrive.

Their C++ writes to file descriptor 2 directly, past Python's logging and, for some lines, past every log-level setting.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def import_tensorflow() -> Any:
    """TensorFlow, imported without its greetings. Takes some seconds the first time in a process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    already = "tensorflow" in sys.modules
    with quiet_native_stderr(None):
        import tensorflow as tf  # noqa: PLC0415 - seconds, and most commands never need it
    if not already:
        for name in ("tensorflow", "absl"):
            logging.getLogger(name).setLevel(logging.ERROR)
    return tf


@contextmanager
def quiet_native_stderr(noise: tuple[bytes, ...] | None) -> Iterator[None]:
    """Hold back what is written to file descriptor 2 while the block runs.

    When the block ends well, lines that contain one of `noise` are dropped (all lines when it is None) and the others are printed;
    when it fails, everything is printed. Process-wide: meant for the few milliseconds or seconds of loading and converting a model.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    failed = True
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
                failed = False
            finally:
                sys.stderr.flush()
                os.dup2(saved, 2)
                held.seek(0)
                for line in held:
                    if failed or (noise is not None and not any(word in line for word in noise)):
                        os.write(2, line)
    finally:
        os.close(saved)
