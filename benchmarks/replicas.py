"""Classifiers that a benchmark starts itself, beside a stack without any, so that it may add, stop and kill them, or start them late."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import orjson

from convnet_kafka.local.process import HOST, free_ports
from convnet_kafka.local.stack import Stack
from waits import wait

_END_S = 60.0


@dataclass
class Replica:
    """One classifier's process.

    Attributes:
        process: it.
        log: its log, one JSON object a line.
        url: of its probes and metrics.
        started_at: Unix time.
    """

    process: subprocess.Popen[bytes]
    log: Path
    url: str
    started_at: float

    @classmethod
    def start(cls, stack: Stack, models: Path, log: Path) -> Replica:
        """One more on the stack's Kafka. Does not wait until it is at work."""
        (port,) = free_ports(1)
        environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "CONVNET_CLASSIFIER_MODELS": str(models),
            "CONVNET_CLASSIFIER_HOST": HOST,
            "CONVNET_CLASSIFIER_PORT": str(port),
        }
        started_at = time.time()
        with log.open("wb") as output:
            process = subprocess.Popen([sys.executable, "-m", "convnet_kafka", "classifier"], env=environment, stderr=output, stdout=output)
        return cls(process, log, f"http://{HOST}:{port}", started_at)

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What it has said under these names, in order."""
        entries = [orjson.loads(text) for text in self.log.read_bytes().splitlines() if text.startswith(b"{") and text.endswith(b"}")]
        return [entry for entry in entries if entry["event"] in names]

    @property
    def ready(self) -> bool:
        """Whether it says so."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:  # noqa: S310 - an http address of our own
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait_ready(self) -> None:
        """Return when it is at work.

        Raises:
            ClickException: it has ended, or takes too long.
        """
        wait(lambda: self.ready or self.process.poll() is not None, "a new replica's readiness")
        if self.process.poll() is not None:
            raise click.ClickException(f"a replica ended by itself; it said last:\n{self.log.read_text()[-2000:]}")

    def end(self) -> None:
        """In good order if it can; nothing is left of it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
