"""A server in a process of its own, started as `--processes` starts one: its settings come through a pipe, and it ends with the pipe."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from types import TracebackType
from typing import Self

import orjson

from convnet_kafka.local.process import free_ports
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.server.processes import reserve
from convnet_kafka.server.transfer import LogConfig, dump
from support.waiting import until


class ServerProcess:
    """Started when entered; ready for connections after `wait`; stopped when left.

    Args:
        config: its settings; the port is replaced by a free one.
        level: how much it logs to standard error.
        environment: added to ours.
    """

    def __init__(self, config: ServerConfig, level: str = "error", **environment: str) -> None:
        (port,) = free_ports(1)
        # Nobody else gets it before the server listens, or while a killed one is replaced.
        self._reserved = reserve("127.0.0.1", port)
        self.config = replace(config, server=config.server.model_copy(update={"port": port}))
        self.url = f"http://127.0.0.1:{port}"
        self._level = level
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "convnet_kafka.server.worker"], stdin=subprocess.PIPE, env={**os.environ, **self._environment}
        )
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(dump(self.config, LogConfig(self._level, json=False))) + b"\n")
        self._process.stdin.flush()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(40)
        finally:
            self._process.kill()
            self._process.wait()
            self._reserved.close()

    def wait(self) -> None:
        """Return when it accepts connections."""
        until(self._alive, 60, f"{self.url} answers")

    def _alive(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended with {self._process.returncode}"
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
