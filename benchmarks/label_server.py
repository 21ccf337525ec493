"""What the benchmarks of label readers share: a Kafka, one server process, and results written straight into the labels topic."""

from __future__ import annotations

import base64
import json
import re
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click
import orjson
import psutil
from confluent_kafka import Producer

from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.process import free_ports
from convnet_kafka.messages import LabelRecord, Lane, now_ms
from convnet_kafka.replies import label_headers
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.server.transfer import LogConfig, dump
from convnet_kafka.settings import KafkaSettings, ServerSettings, TopicSettings

READY_S = 60.0
# Of a job's id: version, random part, opened at, partition.
_HEAD = struct.Struct(">B16sQI")
_POLL_EVERY = 1000


class LabelServer:
    """One server process with topics of its own, and one labels partition; started when entered.

    Args:
        bootstrap_servers: a Kafka that is running; None starts one.
    """

    def __init__(self, bootstrap_servers: str | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="convnet-bench-")
        self._broker = None if bootstrap_servers else LocalBroker(Path(self._folder.name) / "kafka")
        self._given = bootstrap_servers
        self._prefix = f"bench-{uuid.uuid4().hex[:8]}"
        self._process: subprocess.Popen[bytes] | None = None
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.topic = f"{self._prefix}.labels"

    def __enter__(self) -> Self:
        if self._broker is not None:
            self._broker.start()
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
        if self._broker is not None:
            self._broker.stop()
        self._folder.cleanup()

    @property
    def bootstrap_servers(self) -> str:
        """Of Kafka."""
        return self._given or (self._broker.bootstrap_servers if self._broker is not None else "")

    def start(self) -> None:
        """Start a server process and wait until it is ready."""
        key = Path(self._folder.name) / "key"
        key.write_bytes(b"k" * 40)
        config = ServerConfig(
            KafkaSettings(bootstrap_servers=self.bootstrap_servers, topic_prefix=self._prefix),
            TopicSettings(create=True, images_partitions=1, labels_partitions=1),
            ServerSettings(port=self.port, signing_key_files=[key]),
        )
        self._process = subprocess.Popen([sys.executable, "-m", "convnet_kafka.server.worker"], stdin=subprocess.PIPE)
        if self._process.stdin is not None:
            self._process.stdin.write(orjson.dumps(dump(config, LogConfig("warning", json=False))) + b"\n")
            self._process.stdin.flush()
        deadline = time.monotonic() + READY_S
        while not self._ready():
            if time.monotonic() > deadline:
                raise click.ClickException(f"the server was not ready within {READY_S:.0f} s")
            time.sleep(0.02)

    def kill(self) -> None:
        """As `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def cpu_s(self) -> float:
        """CPU seconds of the server process so far."""
        times = self._psutil().cpu_times()
        return float(times.user + times.system)

    def starved_s(self) -> float:
        """Seconds that the server's event loop was ready to run and had no core: what others on this machine cost it."""
        waited_ns = Path(f"/proc/{self._psutil().pid}/schedstat").read_text().split()[1]
        return int(waited_ns) / 1e9

    def peak_mib(self) -> float:
        """The most memory the server process has held so far."""
        status = Path(f"/proc/{self._psutil().pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found.group(1)) / 1024 if found else float("nan")

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One call."""
        request = urllib.request.Request(f"{self.url}{path}", data=json.dumps(body or {}).encode(), method="POST")  # noqa: S310 - our own URL
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own URL
            value: dict[str, Any] = json.loads(answer.read())
            return value

    def open_job(self) -> str:
        """A new job's path."""
        return f"/v1/jobs/{self.post('/v1/jobs')['job']}"

    def _psutil(self) -> psutil.Process:
        if self._process is None:
            raise click.ClickException("the server is not running")
        return psutil.Process(self._process.pid)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:  # noqa: S310 - our own URL
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


class LabelWriter:
    """Writes results of one job as a classifier does whose batches hold one image: each a record of its own.

    Args:
        server: whose topic.
        path: the job's.
    """

    def __init__(self, server: LabelServer, path: str) -> None:
        token = path.rpartition("/")[2]
        _, random, _, self._partition = _HEAD.unpack_from(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        self._job = random.hex()
        self._topic = server.topic
        self._producer = Producer({"bootstrap.servers": server.bootstrap_servers, "linger.ms": 5, "queue.buffering.max.messages": 200_000})

    def write(self, numbers: Iterable[int]) -> None:
        """One label for each number, as fast as Kafka takes them; `flush` waits for the last."""
        for count, number in enumerate(numbers):
            self._one(number)
            if count % _POLL_EVERY == 0:
                self._producer.poll(0)

    def flush(self) -> None:
        """Return when Kafka has all."""
        if self._producer.flush(120):
            raise click.ClickException("Kafka did not take all labels")

    def _one(self, number: int) -> None:
        image, now = f"{(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << 128):032x}", now_ms()
        record = LabelRecord(
            image=image, name=f"{number // 1000:04d}/{number:07d}.png", revision=0, label=str(number % 10), confidence=0.98, error=None,
            detail=None, model=3, lane=Lane.BULK, submitted_at_ms=now, labelled_at_ms=now,
        )  # fmt: skip
        headers = label_headers(job=self._job, images=image, revision=0, tenant="default", failed=False)
        while True:
            try:
                self._producer.produce(self._topic, record.to_json(), partition=self._partition, headers=dict(headers))
            except BufferError:
                self._producer.poll(0.1)
            else:
                return
