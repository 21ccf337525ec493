"""The stack on this machine comes up, is kept up, and leaves nothing running. Without classifiers: those have tests of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conftest import SHORT_LIVED
from convnet_kafka.errors import LocalStackError
from convnet_kafka.local.process import free_ports
from convnet_kafka.local.stack import Stack, StackOptions
from support.waiting import until


def options(folder: Path, **other: object) -> StackOptions:
    settings = {"models": folder / "models", "data": folder / "data", "classifiers": 0, "broker_jvm_flags": SHORT_LIVED}
    return StackOptions(**(settings | other))  # type: ignore[arg-type]


def open_job(url: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/jobs", method="POST"), timeout=20) as answer:
        return answer.read().decode()


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_what_dies_is_started_again_and_nothing_stays_when_it_is_left(tmp_path: Path) -> None:
    with Stack(options(tmp_path)) as stack:
        first = stack.processes
        assert set(first) == {"broker", "server"}
        assert "job" in open_job(stack.server_url)
        for name in ("server", "broker"):
            killed = stack.kill(name)
            until(lambda name=name, killed=killed: stack.processes.get(name, killed) != killed, 60, f"a new {name}")
            stack.wait_ready()
        assert "job" in open_job(stack.server_url)
        second = stack.processes
        with pytest.raises(LocalStackError, match="'classifier-1'"):
            stack.kill("classifier-1")
    assert set(first.values()).isdisjoint(second.values())
    assert all(is_gone(pid) for pid in [*first.values(), *second.values()])
    assert "ended by SIGKILL; it is started again" in (tmp_path / "data" / "logs" / "server.log").read_text()


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalStackError, match=f"port {port} .* is in use .*--port"), Stack(options(tmp_path, port=port)):
            pass
    assert not (tmp_path / "data").exists()


def test_a_child_that_cannot_start_is_told_with_its_own_words(tmp_path: Path) -> None:
    wrong = {"CONVNET_TOPICS_IMAGES_PARTITIONS": "none"}
    with (
        pytest.raises(LocalStackError, match=r"(?s)server cannot start.*images_partitions"),
        Stack(options(tmp_path, restart=False, environment=wrong)),
    ):
        pass


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`convnet-kafka up` as a user runs it, ready; and what it said so far."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "convnet_kafka", "up", "--classifiers", "0", "--port", str(port)]
    environment = {key: value for key, value in os.environ.items() if key != "KAFKA_BOOTSTRAP_SERVERS"} | {"COLUMNS": "300"}
    with subprocess.Popen(
        [*command, "--data", str(tmp_path / "data")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            said = ""
            assert process.stdout is not None
            for line in process.stdout:
                said += line
                if "There is no model" in line:
                    break
            yield process, said
        finally:
            process.kill()


def family(process: subprocess.Popen[str]) -> list[int]:
    return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_up_ends_cleanly_on_a_signal(running: tuple[subprocess.Popen[str], str], number: signal.Signals) -> None:
    process, said = running
    assert "convnet-kafka is ready at http://127.0.0.1:" in said
    assert "convnet-kafka train FOLDER" in said
    assert any(line.startswith("server ") for line in said.splitlines())
    pids = family(process)
    assert len(pids) >= 2
    process.send_signal(signal.SIGUSR1)  # passed on to the server
    assert process.stdout is not None
    assert any("log level changed" in line for line in process.stdout)
    process.send_signal(number)
    rest, _ = process.communicate(timeout=40)
    assert process.returncode == 0, rest
    assert "stopped; records stay in" in rest
    assert all(is_gone(pid) for pid in pids)


def test_down_ends_up_from_another_terminal(running: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    process, _ = running
    pids = family(process)
    command = [sys.executable, "-m", "convnet_kafka", "down", "--data", str(tmp_path / "data")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert f"ended process {process.pid}" in said
    assert process.wait(10) == 0
    assert all(is_gone(pid) for pid in pids)


def test_nothing_outlives_up_when_it_is_killed(running: tuple[subprocess.Popen[str], str]) -> None:
    process, _ = running
    pids = family(process)
    process.kill()
    until(lambda: all(is_gone(pid) for pid in pids), 30, "the end of what it started")
