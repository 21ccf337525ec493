"""`convnet-kafka down` ends a broker that runs for this user, once, cleanly, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from convnet_kafka.local.folder import FolderLock, Owner
from support.waiting import until


def convnet_kafka(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "convnet_kafka", *arguments]


def down(folder: Path) -> str:
    return subprocess.run(convnet_kafka("down", "--data", str(folder)), capture_output=True, text=True, timeout=90, check=True).stdout


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A broker in a process of its own, ready."""
    command = convnet_kafka("broker", "--data", str(tmp_path / "data"), "--port", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "ready" in process.stdout.readline()
            yield process
        finally:
            process.terminate()


def test_down_ends_the_broker_and_its_owner_and_keeps_the_data(running: subprocess.Popen[str], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    owner = FolderLock(folder).owner()
    assert owner is not None
    assert "ended process" in down(folder)
    assert running.wait(10) == 0
    until(lambda: not psutil.pid_exists(owner.broker_pid), 10, "the broker's end")
    assert (folder / "kafka").is_dir()
    assert "nothing runs" in down(folder)


def test_down_leaves_a_process_alone_that_only_has_a_dead_owners_number(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        FolderLock(tmp_path).write_owner(Owner(owner_pid=innocent.pid, broker_pid=os.getpid(), port=1))
        assert "nothing runs" in down(tmp_path)
        assert innocent.poll() is None
        innocent.kill()
