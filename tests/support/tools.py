"""Tools and data that a test needs from the machine: skipped by name for a user without them, failed in CI, which installs everything."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def required(name: str, package: str) -> Path:
    """The path of a program, or of a file or folder when `name` is an absolute path.

    Args:
        name: what is needed.
        package: the Debian package that brings it, for the message and for `.ci/run`.
    """
    found = name if Path(name).is_absolute() and Path(name).exists() else shutil.which(name)
    if found is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"{name} is not on this machine: apt-get install {package}")
    return Path(found)
