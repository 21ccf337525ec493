"""`convnet-kafka server` as a user and as Kubernetes runs it: one process or several, signals, and clear refusals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from convnet_kafka.local.broker import LocalBroker
from support.waiting import until


class Command:
    """A running `convnet-kafka server` and what it logged."""

    def __init__(self, *arguments: str) -> None:
        environment = {**os.environ, "CONVNET_SERVER_SHUTDOWN_DELAY_S": "0.2", "CONVNET_TOPICS_LABELS_PARTITIONS": "2"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "convnet_kafka", "server", "--port", "0", "--create-topics", *arguments],
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [value for value in (json.loads(line) for line in list(self.lines) if line.startswith("{")) if value["event"] == event]

    def url(self) -> str:
        until(lambda: self.logged("listening") or self.process.poll() is not None, 20, "it listens")
        return str(self.logged("listening")[0]["url"])

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url() + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def children(self) -> list[psutil.Process]:
        return [child for child in psutil.Process(self.process.pid).children() if child.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def running(*arguments: str) -> Iterator[Command]:
    command = Command(*arguments)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait(10)


@pytest.fixture
def arguments(broker: LocalBroker, tmp_path: Path) -> list[str]:
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    prefix = f"command-{uuid.uuid4().hex[:8]}"
    return ["--bootstrap-servers", broker.bootstrap_servers, "--topic-prefix", prefix, "--signing-key-file", str(key)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_one_process_with_status_0(arguments: list[str], number: signal.Signals) -> None:
    with running(*arguments) as command:
        until(lambda: command.get("/readyz")[0] == 200, 20, "it is ready")
        command.process.send_signal(number)
        assert command.process.wait(15) == 0
        assert command.logged("stopped")


def test_several_processes_share_the_port_are_replaced_and_end_together(arguments: list[str]) -> None:
    with running(*arguments, "--processes", "2") as command:
        until(lambda: "convnet_server_ready 2.0" in command.get("/metrics")[1], 30, "both are ready")
        assert "convnet_server_requests_total" in command.get("/metrics")[1]
        first = command.children()
        assert len(first) == 2
        first[0].kill()
        until(lambda: len(command.children()) == 2 and first[0] not in command.children(), 20, "the dead one is replaced")
        until(lambda: "convnet_server_ready 2.0" in command.get("/metrics")[1], 30, "both are ready again")
        children = command.children()
        command.process.send_signal(signal.SIGTERM)
        assert command.process.wait(20) == 0
        assert not any(child.is_running() for child in children)


def test_signals_change_the_log_level_of_every_process_while_it_runs(arguments: list[str]) -> None:
    with running(*arguments, "--processes", "2") as command:
        until(lambda: "convnet_server_ready 2.0" in command.get("/metrics")[1], 30, "both are ready")
        assert not command.logged("request")
        # The parent, and both children.
        command.process.send_signal(signal.SIGUSR1)
        until(lambda: [event["to"] for event in command.logged("log level changed")] == ["debug"] * 3, 20, "all log everything")
        command.get("/readyz")
        until(lambda: "/readyz" in [event["route"] for event in command.logged("request")], 20, "the request is logged")
        command.process.send_signal(signal.SIGUSR2)
        until(lambda: [event["to"] for event in command.logged("log level changed")][3:] == ["info"] * 3, 20, "all log as before")
        told = len(command.logged("request"))
        command.get("/healthz")
        # One that is replaced meanwhile begins as the others began, and is not ended by a signal that comes too early.
        first = command.children()
        first[0].kill()
        until(lambda: [child for child in command.children() if child not in first], 20, "the dead one is replaced")
        (replacement,) = [child for child in command.children() if child not in first]
        command.process.send_signal(signal.SIGUSR1)
        until(lambda: "convnet_server_ready 2.0" in command.get("/metrics")[1], 30, "both are ready again")
        assert replacement in command.children()
        routes = [event["route"] for event in command.logged("request")[told:]]
        assert "/healthz" not in routes


def test_the_processes_end_when_their_parent_is_killed(arguments: list[str]) -> None:
    with running(*arguments, "--processes", "2") as command:
        until(lambda: command.get("/healthz")[0] == 200, 20, "one is alive")
        until(lambda: len(command.children()) == 2, 20, "both run")
        children = command.children()
        command.process.kill()
        until(lambda: not any(child.is_running() for child in children), 20, "they have ended")


@pytest.mark.parametrize(
    ("key", "message", "processes"), [(None, "no key to sign job ids with", "2"), (b"short", "has 5 bytes, 32 or more", "1")]
)
def test_without_a_good_signing_key_it_says_how_to_make_one(tmp_path: Path, key: bytes | None, message: str, processes: str) -> None:
    given = []
    if key is not None:
        (tmp_path / "key").write_bytes(key)
        given = ["--signing-key-file", str(tmp_path / "key")]
    done = subprocess.run(
        [sys.executable, "-m", "convnet_kafka", "server", "--port", "0", "--processes", processes, *given],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "/dev/urandom" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_taken_port_is_named(arguments: list[str], processes: str) -> None:

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "convnet_kafka", "server", "--port", port, "--processes", processes, *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert done.returncode == 2
    assert port in done.stderr
    assert "Traceback" not in done.stderr
