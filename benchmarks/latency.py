"""How long one image takes through `POST /v1/classify` with nobody else there, beside what Kafka alone takes: interleaved, in one run.

The echo is a record produced and consumed through the same Kafka by one process, one in flight: what a hop through Kafka costs here. The
classifier's own time is what its metrics say of these calls, from a batch in hand to its label handed over (a mean); beside it stands what
decoding and predicting alone take in a loop that does nothing else, on warm caches. The image and its label are a hop each: two echoes and
the classifier's time are the least there can be. The bar is 3 echoes and the classifier's time; beside it stands how much more a call takes
than an echo and the classifier's time together. The caller is as plain as the echo: a socket, one write and one read a call.
The same caller calls the least that can answer at all through the same broker (leastpath.py), and a handler that answers at once.
Writes build/latency.json.
"""

from __future__ import annotations

import random
import socket
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from convnet_kafka.local.stack import Stack, StackOptions
from echo import prepare_echo, warm_up
from figures import MS, percentiles, save
from leastpath import HTTP_PATH, LeastTopics, prepare_least_classifier, prepare_least_server
from workers import Worker
from workload import DIGITS

STAGES = "convnet_classifier_stage_seconds"
ROWS = {
    "classify_ms": "classify",
    "least_ms": "the least path through Kafka",
    "echo_ms": "echo through Kafka",
    "http_ms": "HTTP alone",
    "alone_ms": "decode and predict, in a loop",
}
# Pools fill during the first ones; the broker is warm before.
WARM_UP_BLOCKS = 20
ANSWER_S = 30.0
MOST_ANSWER_BYTES = 64 * 1024


def prepare_alone(models: Path) -> Callable[[bytes, int], list[float]]:
    """Decode and predict one image at a time, in memory; seconds of each."""
    from convnet.images import decode  # noqa: PLC0415 - only this process needs it
    from convnet.predictor import load_predictor  # noqa: PLC0415 - only this process needs it
    from convnet.registry import Registry  # noqa: PLC0415 - only this process needs it

    predictor = load_predictor(Registry(models), "stable", max_batch=64)
    predictor.warm_up()

    def work(content: bytes, count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            started = time.perf_counter()
            predictor.predict(decode(content, predictor.spec)[None]).argmax(axis=1)
            seconds.append(time.perf_counter() - started)
        return seconds

    return work


def prepare_classify(server_url: str, path: str = "/v1/classify") -> Callable[[bytes, int], list[float]]:
    """One call at a time on one connection; seconds of each."""
    host, _, port = server_url.rpartition("/")[2].partition(":")
    connection = socket.create_connection((host, int(port)), timeout=ANSWER_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def work(content: bytes, count: int) -> list[float]:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\nContent-Length: {len(content)}\r\n\r\n"
        request, seconds = head.encode() + content, []
        for _ in range(count):
            started = time.perf_counter()
            connection.sendall(request)
            answer = connection.recv(MOST_ANSWER_BYTES)
            seconds.append(time.perf_counter() - started)
            # Some 500 bytes that the server writes at once.
            if not (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"}") and b'"label":' in answer):
                raise RuntimeError(f"classify answered {answer[:500]!r}")
        return seconds

    return work


def spent(metrics: str) -> tuple[float, float]:
    """Seconds that the classifier has worked on batches of the fast lane so far, and how many batches."""
    with urllib.request.urlopen(metrics, timeout=10) as answer:  # noqa: S310 - an address of ours
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families if family.name == STAGES for sample in family.samples if sample.labels.get("lane") == "fast"]
    seconds = sum(sample.value for sample in samples if sample.name == f"{STAGES}_sum")
    return seconds, max(sample.value for sample in samples if sample.name == f"{STAGES}_count")


def _told(worker: Worker) -> Any:
    worker.begin()
    return worker.result().detail


def show(figures: dict[str, Any], console: Console) -> None:
    """As a table."""
    table = Table("milliseconds, one in flight", "p50", "p99", title_justify="left")
    for name, what in ROWS.items():
        table.add_row(what, f"{figures[name]['p50']:.2f}", f"{figures[name]['p99']:.2f}")
    table.add_row("the classifier's own time, mean", f"{figures['own_ms']:.2f}", "")
    table.add_row("the least path's classifier's, mean", f"{figures['least_own_ms']:.2f}", "")
    console.print(table)
    echo, own = figures["echo_ms"]["p50"], figures["own_ms"]
    console.print(f"classify less the classifier's own time: {figures['echoes']:.2f} echoes; the bar is 3, {3 * echo + own:.2f} ms in all")
    console.print(f"the least path less its classifier's own time: {figures['least_echoes']:.2f} echoes")
    console.print(f"classify is {figures['ratio']:.2f} times an echo and the classifier's own time")


@click.command(help=__doc__)
@click.option("--block", default=100, show_default=True, help="Calls of each before the next takes its turn.")
@click.option("--blocks", default=10, show_default=True, help="Turns of each.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/latency.json"), show_default=True)
def main(*, block: int, blocks: int, out: Path) -> None:
    """See the module."""
    console = Console()
    found: dict[str, list[float]] = {name: [] for name in ROWS}
    with ExitStack() as cleanup:
        root = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="convnet-latency-")))
        files = DIGITS.write(root / "pictures", 400)
        DIGITS.train(root / "models", files, "float32")
        stack = cleanup.enter_context(Stack(StackOptions(models=root / "models", data=root / "data", classifiers=1)))
        broker = stack.bootstrap_servers
        warm_up(broker, files[0].read_bytes())
        topics = LeastTopics.make(broker)
        least_classifier = cleanup.enter_context(Worker(prepare_least_classifier, broker, topics, root / "models"))
        least_server = cleanup.enter_context(Worker(prepare_least_server, broker, topics))
        least_url = _told(least_server)
        workers = {
            "classify_ms": cleanup.enter_context(Worker(prepare_classify, stack.server_url)),
            "least_ms": cleanup.enter_context(Worker(prepare_classify, least_url)),
            "echo_ms": cleanup.enter_context(Worker(prepare_echo, broker)),
            "http_ms": cleanup.enter_context(Worker(prepare_classify, least_url, HTTP_PATH)),
            "alone_ms": cleanup.enter_context(Worker(prepare_alone, root / "models")),
        }
        order = random.Random(1)  # noqa: S311 - hides nothing
        metrics, before = f"{stack.urls['classifier-1']}/metrics", (0.0, 0.0)
        for number in range(WARM_UP_BLOCKS + blocks):
            if number == WARM_UP_BLOCKS:
                before = spent(metrics)
                _told(least_classifier)
            content = files[number % len(files)].read_bytes()
            # By chance each comes after each: what the one before used lies in the caches.
            for name in order.sample(list(workers), len(workers)):
                worker = workers[name]
                worker.begin(content, block)
                seconds = worker.result().detail
                if number >= WARM_UP_BLOCKS:
                    found[name] += seconds
        after = spent(metrics)
        least_seconds, least_images = _told(least_classifier)
    figures: dict[str, Any] = {name: percentiles(seconds) for name, seconds in found.items()}
    figures["own_ms"] = (after[0] - before[0]) / (after[1] - before[1]) * MS
    figures["ratio"] = figures["classify_ms"]["p50"] / (figures["echo_ms"]["p50"] + figures["own_ms"])
    figures["echoes"] = (figures["classify_ms"]["p50"] - figures["own_ms"]) / figures["echo_ms"]["p50"]
    figures["least_own_ms"] = least_seconds / least_images * MS
    figures["least_echoes"] = (figures["least_ms"]["p50"] - figures["least_own_ms"]) / figures["echo_ms"]["p50"]
    save(out, figures)
    show(figures, console)
    console.print(f"written to {out}")


if __name__ == "__main__":
    main()
