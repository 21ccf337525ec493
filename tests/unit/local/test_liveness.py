"""A child that says it hangs, or says nothing for long, is killed; one that only starts slowly is not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from convnet_kafka.local.childlogs import ChildLogs
from convnet_kafka.local.children import Child
from convnet_kafka.local.liveness import Liveness


class Process:
    """A child's process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.killed = False

    def poll(self) -> int | None:
        return -9 if self.killed else None

    def kill(self) -> None:
        self.killed = True


@pytest.fixture
def health() -> Iterator[Callable[[int], str]]:
    """Answers `/healthz` with what it is told; returns its address."""
    status = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"alive": status[0] == 200}).encode()
            self.send_response(status[0] if self.path == "/healthz" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()

    def say(code: int) -> str:
        status[0] = code
        return f"http://127.0.0.1:{server.server_port}"

    yield say
    server.shutdown()
    server.server_close()


def watched(tmp_path: Path, url: str) -> tuple[Liveness, Child, Process]:
    child = Child("classifier-1", ["classifier"], {}, url)
    process = Process(1)
    child.process = process  # type: ignore[assignment]
    return Liveness([child], ChildLogs(None, tmp_path), silent_s=0.0), child, process


def test_one_that_says_it_hangs_is_killed(tmp_path: Path, health: Callable[[int], str]) -> None:
    liveness, child, process = watched(tmp_path, health(200))
    liveness.look(child)
    assert not process.killed
    health(503)
    liveness.look(child)
    assert process.killed
    assert "says that it hangs; it is killed" in (tmp_path / "classifier-1.log").read_text()


def test_one_that_falls_silent_is_killed_and_one_that_has_not_answered_yet_is_not(tmp_path: Path, health: Callable[[int], str]) -> None:
    liveness, child, process = watched(tmp_path, "http://127.0.0.1:1")
    liveness.look(child)
    liveness.look(child)
    assert not process.killed
    child.health_url = health(200)
    liveness.look(child)
    child.health_url = "http://127.0.0.1:1"
    liveness.look(child)
    assert process.killed


def test_the_silence_of_one_process_is_not_held_against_the_next(tmp_path: Path, health: Callable[[int], str]) -> None:
    liveness, child, _ = watched(tmp_path, health(200))
    liveness.look(child)
    child.health_url = "http://127.0.0.1:1"
    second = Process(2)
    child.process = second  # type: ignore[assignment]
    liveness.look(child)
    assert not second.killed


def test_nobody_is_killed_once_it_is_stopped(tmp_path: Path, health: Callable[[int], str]) -> None:
    liveness, child, process = watched(tmp_path, health(503))
    liveness.stop()
    liveness.look(child)
    assert not process.killed
