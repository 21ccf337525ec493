"""Tools and data that a test needs from the machine: skipped by name for a user without them, failed in CI, which installs everything."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def required(name: str, how: str) -> Path:
    """The path of a program, or of a file or folder when `name` is an absolute path. What the environment holds comes before PATH.

    Args:
        name: what is needed.
        how: the command that brings it, for the message; `.ci/run` does the same.
    """
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    found = name if Path(name).is_absolute() and Path(name).exists() else shutil.which(name, path=beside)
    if found is None:
        missing(f"{name} is not on this machine: {how}")
    return Path(found)


def missing(what: str) -> NoReturn:
    """Skip the test for a user, fail it in CI, which has everything."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
