"""A command as the first process of a container, where a signal without a handler does nothing at all."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# `train` without arguments would end by itself; what is asked for here is the moment in which a command is loaded or works.
_COMMAND = """
import os, signal, sys
real = os.getpid()
os.getpid = lambda: {pid}
from convnet_kafka.cli import main
main.group = lambda standalone_mode: (os.kill(real, signal.SIGTERM), sys.exit("went on"))
main.main()
"""


@pytest.mark.parametrize(("pid", "code"), [(1, 128 + signal.SIGTERM), (2, -signal.SIGTERM)])
def test_sigterm_ends_a_command_that_has_no_handler_of_its_own(pid: int, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", _COMMAND.format(pid=pid)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
