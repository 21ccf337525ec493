"""How a test lets go of a process that it started."""

from __future__ import annotations

import subprocess
from typing import Any


def end(process: subprocess.Popen[Any], within_s: float = 20.0) -> None:
    """Ask a process to end and wait for it; one that does not end in time is killed, and that raises `TimeoutExpired`."""
    process.terminate()
    try:
        process.wait(within_s)
    finally:
        process.kill()
        process.wait()
