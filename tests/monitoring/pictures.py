"""Pictures of all dashboards with the data of a stack that runs here, under load and faults: `make dashboard-pictures`.

    python -m monitoring.pictures FOLDER [SECONDS]

What Kubernetes' exporters would say is recorded, as in the tests. Ends what it started.
"""

from __future__ import annotations

import itertools
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from convnet.digits import write_digits
from convnet.progress import Silent
from convnet.registry import Registry
from convnet.run import train
from convnet.training import TrainingSettings
from convnet_charts.rules.tuning import Tuning
from convnet_kafka.client import classify
from support.dashboards import boards
from support.exposition import Exposition, recorded
from support.rendering import draw
from support.watched_stack import WatchedStack, same_versions

RECORDED = Path(__file__).parent / "recorded" / "kubernetes.prom"
SECONDS = 150
SCRAPE_S = 2.0
TUNING = Tuning(scale=60, shortest_window_s=5 * SCRAPE_S)
IMAGES_A_JOB = 1500
BROKEN_EVERY = 40


def send_bulk(servers: list[str], folder: Path, pictures: list[bytes], end: threading.Event) -> None:
    """Jobs, one after the other, with some broken pictures."""
    for number, server in zip(itertools.count(), itertools.cycle(servers), strict=False):
        if end.wait(1.0):
            return
        job = folder / f"job-{number}"
        job.mkdir()
        for index in range(IMAGES_A_JOB):
            content = pictures[index % len(pictures)]
            (job / f"{index}.png").write_bytes(content if index % BROKEN_EVERY else content[:60])
        for _ in classify([job], server=server):
            pass


def send_fast(servers: list[str], pictures: list[bytes], end: threading.Event) -> None:
    """One picture a call, some twenty a second."""
    for content, server in zip(itertools.cycle(pictures), itertools.cycle(servers), strict=False):
        if end.wait(0.05):
            return
        call = urllib.request.Request(f"{server}/v1/classify?timeout=10", content, {"Content-Type": "image/png"})
        try:
            with urllib.request.urlopen(call, timeout=30) as answer:
                answer.read()
        except OSError:
            continue


def main() -> int:
    """Run, break, draw."""
    target, seconds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="convnet-pictures-") as temporary:
        folder = Path(temporary)
        digits = write_digits(folder / "digits")
        train(digits.train, Registry(folder / "trained"), TrainingSettings(height=32, width=32, channels=1, epochs=5), Silent())
        registry = same_versions(folder / "trained", folder / "models", 3)
        pictures = [path.read_bytes() for path in sorted(digits.test.rglob("*.png"))]
        end = threading.Event()
        with (
            Exposition(recorded(RECORDED)) as kubernetes,
            WatchedStack(folder, registry.folder, [TUNING], exporters=[kubernetes.address], scrape_s=SCRAPE_S) as stack,
        ):
            began = time.time()
            senders = [
                threading.Thread(target=send_bulk, args=(stack.servers, folder, pictures, end)),
                threading.Thread(target=send_fast, args=(stack.servers, pictures, end)),
            ]
            for sender in senders:
                sender.start()
            # What goes wrong: a canary and a shadow come, a classifier is killed, both rest, one comes back after the other.
            first, second = stack.classifiers
            registry.set_alias("shadow", 3)
            _pass(seconds / 5)
            registry.set_alias("canary", 2, canary_percent=30)
            first.end(signal.SIGKILL)
            _pass(seconds / 5)
            first.start()
            _pass(seconds / 5)
            second.end()
            first.end()
            _pass(seconds / 10)
            first.start()
            second.start()
            _pass(seconds * 3 / 10)
            end.set()
            for sender in senders:
                sender.join(120)
            for name, content in boards().items():
                draw(stack.prometheus, name, content, began, time.time(), target / f"{name}.png", "10s")
                sys.stdout.write(f"drawn: {target / name}.png, {(target / f'{name}.png').stat().st_size} bytes\n")
    return 0


def _pass(seconds: float) -> None:
    threading.Event().wait(seconds)


if __name__ == "__main__":
    sys.exit(main())
