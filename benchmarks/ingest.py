"""What taking images in by HTTP costs beside a bare confluent-kafka producer: the same images, records and settings, in interleaved rounds.

The server (one process) and the bare loop are each pinned to the first core; Kafka and the sender of the bodies have the others. An
upload ends when the server has answered, which is when Kafka holds its images. Writes build/ingest.json and prints a table.
"""

from __future__ import annotations

import io
import os
import resource
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import click
import orjson
import psutil
from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from convnet_kafka.kafka.connection import producer_options
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.process import free_ports
from convnet_kafka.messages import Lane, image_base_headers, image_headers, image_id, now_ms
from convnet_kafka.server.backend import BULK_LINGER_MS, BULK_SHARE
from convnet_kafka.settings import KafkaSettings, ServerSettings
from convnet_kafka.topology import Topology, max_record_bytes
from figures import save, spread
from pictures import write_pictures
from processes import MICRO
from workers import Worker

WARM_UP_ROUNDS = 3
# Requests as our client sends them: short ones over a few connections.
CONNECTIONS = 4
REQUEST_IMAGES = 4096
REQUEST_BYTES = 32 * 1000 * 1000
READY_S = 60.0


@dataclass
class Figures:
    """One figure a round.

    Attributes:
        rate: images a second.
        cpu_us: CPU microseconds an image.
    """

    rate: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def add(self, images: int, seconds: float, cpu_s: float) -> None:
        """One round."""
        self.rate.append(images / seconds)
        self.cpu_us.append(cpu_s / images * MICRO)


def pin(cores: set[int]) -> None:
    """Run this thread, and all that it starts from now on, on these cores only."""
    os.sched_setaffinity(0, cores)


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """The same for what is started inside."""
    before = os.sched_getaffinity(0)
    pin(cores)
    try:
        yield
    finally:
        pin(before)


def prepare_bare(core: int, bootstrap_servers: str, prefix: str, files: list[Path], pad: int, headers: bool) -> Callable[[], None]:
    """In a process of its own: the shortest loop that stores the images durably and is told so of each. Its records are the server's."""
    pin({core})
    settings = KafkaSettings(bootstrap_servers=bootstrap_servers, topic_prefix=prefix)
    options = producer_options(
        settings,
        "bare",
        linger_ms=BULK_LINGER_MS,
        share=BULK_SHARE,
        max_record_bytes=max_record_bytes(settings),
        delivery_timeout_s=ServerSettings().delivery_timeout_s,
    )
    producer = Producer(options)
    topic = Topology(prefix).images(Lane.BULK)
    job = "0" * 32
    base = image_base_headers(job=job, reply_partition=0, tenant="default", traceparent=None, submitted_at_ms=now_ms())
    images = []
    for file in files:
        content, name = file.read_bytes() + bytes(pad), f"{file.parent.name}/{file.name}"
        made = image_headers(base, image=image_id(job, name, content), name=name, content_type="image/png") if headers else None
        images.append((content, made))
    failures: list[object] = []

    def on_delivery(error: object, _message: object) -> None:
        if error is not None:
            failures.append(error)

    def work() -> None:
        for content, made in images:
            while True:
                try:
                    producer.produce(topic, content, headers=made, on_delivery=on_delivery)  # type: ignore[arg-type]
                    break
                except BufferError:
                    producer.poll(0.005)
            producer.poll(0)
        left = producer.flush(60)
        if left or failures:
            raise RuntimeError(f"{left} images were not stored, {len(failures)} failed")

    return work


def bodies(files: list[Path], pad: int) -> list[tuple[int, bytes]]:
    """The requests: how many images, and the tar."""
    made = []
    at = 0
    while at < len(files):
        out = io.BytesIO()
        first = at
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            while at < len(files) and at - first < REQUEST_IMAGES and out.tell() < REQUEST_BYTES:
                content = files[at].read_bytes() + bytes(pad)
                info = tarfile.TarInfo(f"{files[at].parent.name}/{files[at].name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
                at += 1
        made.append((at - first, out.getvalue()))
    return made


class Sender:
    """Sends the requests over a few connections. Plain sockets: its own cost is small, and on another core."""

    def __init__(self, url: str, requests: list[tuple[int, bytes]]) -> None:
        self._address = url.rpartition("/")[2]
        self._requests = requests
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(CONNECTIONS)

    def upload(self) -> None:
        """All requests, as a new job."""
        job = self._call("POST", "/v1/jobs", b"", {})["job"]
        headers = {"Content-Type": "application/x-tar"}

        def one(request: tuple[int, bytes]) -> tuple[int, Any]:
            return request[0], self._call("POST", f"/v1/jobs/{job}/images", request[1], headers)

        for count, answer in self._pool.map(one, self._requests):
            if answer["accepted"] != count:
                raise RuntimeError(f"of {count} images: {answer['accepted']} accepted, {answer['problems'][:1]}")

    def _call(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = HTTPConnection(self._address)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {content[:300]!r}")
        return orjson.loads(content)


@contextmanager
def running_server(core: int, bootstrap_servers: str, prefix: str, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """`convnet-kafka server` on one core; its URL and process."""
    (port,) = free_ports(1)
    key = folder / "signing-key"
    key.write_bytes(os.urandom(48))
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": prefix,
        "CONVNET_SERVER_PORT": str(port),
        "CONVNET_SERVER_SIGNING_KEY_FILES": str(key),
        "CONVNET_TOPICS_CREATE": "true",
        "CONVNET_SERVER_SHUTDOWN_DELAY_S": "0",
    }
    with pinned({core}):
        process = subprocess.Popen([sys.executable, "-m", "convnet_kafka", "server", "--log-level", "warning"], env=environment)
    try:
        _wait_ready(f"127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _wait_ready(address: str) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            connection = HTTPConnection(address, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise click.ClickException(f"the server was not ready within {READY_S:.0f} s")
        time.sleep(0.05)


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def show(figures: dict[str, Any], console: Console) -> None:
    """As a table."""
    table = Table("", "images/s", "least", "most", "CPU us an image", title=figures["title"], title_justify="left")
    for name in ("server", "bare", "bare_without_headers", "broker", "sender"):
        rate = figures.get(f"{name}_images_per_s")
        rates = [f"{rate[key]:,.0f}" for key in ("median", "min", "max")] if rate else ["", "", ""]
        table.add_row(name.replace("_", " "), *rates, f"{figures[f'{name}_cpu_us']['median']:.1f}")
    console.print(table)
    rounds = ", ".join(f"{one:.2f}" for one in figures["ratio_rounds"])
    console.print(f"server to bare: throughput {figures['throughput_ratio']:.2f} ({rounds}), CPU {figures['cpu_ratio']:.2f}")
    console.print(f"server to bare without headers: throughput {figures['throughput_ratio_without_headers']:.2f}")


def measure(images: int, count: int, pad: int, console: Console) -> dict[str, Any]:
    """All rounds."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise click.ClickException("two cores are needed: one for what is measured, one for Kafka and the sender")
    first, others = cores[0], set(cores[1:])
    server, bare, plain = Figures(), Figures(), Figures()
    broker_cpu: list[float] = []
    sender_cpu: list[float] = []
    with ExitStack() as cleanup:
        root = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="convnet-ingest-")))
        cleanup.enter_context(pinned(others))
        files = write_pictures(root / "pictures", images)
        mean_bytes = statistics.mean(file.stat().st_size for file in files[:1000]) + pad
        broker = cleanup.enter_context(LocalBroker())
        url, process = cleanup.enter_context(running_server(first, broker.bootstrap_servers, "ingest", root))
        kafka = psutil.Process(broker.pid)
        arguments = (prepare_bare, first, broker.bootstrap_servers, "ingest", files, pad)
        loops = [cleanup.enter_context(Worker(*arguments, headers)) for headers in (True, False)]
        sender = Sender(url, bodies(files, pad))
        for number in range(WARM_UP_ROUNDS + count):
            if number == WARM_UP_ROUNDS:
                server, bare, plain, broker_cpu, sender_cpu = Figures(), Figures(), Figures(), [], []
            for loop, into in zip(loops, (bare, plain), strict=True):
                loop.begin()
                answer = loop.result()
                into.add(images, answer.seconds, answer.cpu_s)
            started, before, before_kafka, own = time.monotonic(), cpu_s(process), cpu_s(kafka), resource.getrusage(resource.RUSAGE_SELF)
            sender.upload()
            server.add(images, time.monotonic() - started, cpu_s(process) - before)
            after = resource.getrusage(resource.RUSAGE_SELF)
            broker_cpu.append((cpu_s(kafka) - before_kafka) / images * MICRO)
            sender_cpu.append((after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime) / images * MICRO)
            what = "warm-up" if number < WARM_UP_ROUNDS else "round"
            console.print(f"{what}: server {server.rate[-1]:,.0f}/s, bare {bare.rate[-1]:,.0f}/s, without headers {plain.rate[-1]:,.0f}/s")
    ratios = [ours / theirs for ours, theirs in zip(server.rate, bare.rate, strict=True)]
    plain_ratios = [ours / theirs for ours, theirs in zip(server.rate, plain.rate, strict=True)]
    return {
        "title": f"Bulk upload until Kafka has acknowledged, one core, {images:,} pictures of about {mean_bytes:,.0f} bytes",
        "server_images_per_s": spread(server.rate),
        "bare_images_per_s": spread(bare.rate),
        "bare_without_headers_images_per_s": spread(plain.rate),
        "server_cpu_us": spread(server.cpu_us),
        "bare_cpu_us": spread(bare.cpu_us),
        "bare_without_headers_cpu_us": spread(plain.cpu_us),
        "broker_cpu_us": spread(broker_cpu),
        "sender_cpu_us": spread(sender_cpu),
        "throughput_ratio": statistics.median(ratios),
        "ratio_rounds": ratios,
        "throughput_ratio_without_headers": statistics.median(plain_ratios),
        "cpu_ratio": statistics.median([theirs / ours for ours, theirs in zip(server.cpu_us, bare.cpu_us, strict=True)]),
    }


@click.command(help=__doc__)
@click.option("--images", default=50_000, show_default=True, help="Images a round.")
@click.option("--rounds", default=7, show_default=True, help="Rounds of each.")
@click.option("--pad", default=0, show_default=True, help="Bytes added to each picture, to see what larger ones cost.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/ingest.json"), show_default=True)
def main(*, images: int, rounds: int, pad: int, out: Path) -> None:
    """See the module."""
    console = Console()
    figures = measure(images, rounds, pad, console)
    save(out, figures)
    show(figures, console)
    console.print(f"written to {out}")


if __name__ == "__main__":
    main()
