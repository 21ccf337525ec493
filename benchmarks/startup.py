"""From starting a classifier's process to its first label, phase by phase: LiteRT and a model of 19 MB, with a warm disk.

A picture waits in Kafka; the process is started; its label is read over HTTP. Broker and server run all the time. The phases come from
the classifier's own log and from the label's record. Writes build/startup.json and prints a table; the median is to be under 2 s.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import orjson
from rich.console import Console
from rich.table import Table

from convnet_kafka.local.stack import Stack, StackOptions
from figures import save
from pictures import write_photos

BAR_S = 2.0
# As many as the weights were made for: with them the float32 artefact has 19 MB.
CLASSES = 1000
SIDE = 224
PHASES = ("process and imports", "model load", "join", "decode and predict", "label read")
DEADLINE_S = 60
# Imports first and says when they are done; everything else is the command itself.
PROGRAM = """
import sys, time
import ai_edge_litert.interpreter, convnet_kafka.cli.classifier, convnet_kafka.classifier.service
from convnet_kafka.cli.main import main
print('{"event": "imported", "at": %.6f}' % time.time(), file=sys.stderr, flush=True)
sys.argv[1:] = ["classifier", "--port", "0"]
main()
"""


@dataclass(frozen=True, slots=True)
class Start:
    """One start.

    Attributes:
        phases: seconds of each, in the order of `PHASES`.
        total: their sum, seconds.
        cpu_s: CPU seconds of the process until it had ended.
    """

    phases: tuple[float, ...]
    total: float
    cpu_s: float


def write_model(models: Path) -> None:
    """EfficientNet-Lite0 with an output for each of a thousand classes, not trained: how long it loads does not depend on that."""
    from convnet.export import litert_float32  # noqa: PLC0415 - TensorFlow, in this process alone
    from convnet.images import ImageSpec  # noqa: PLC0415
    from convnet.model_card import ModelCard  # noqa: PLC0415
    from convnet.network import EFFICIENTNET_LITE0, build  # noqa: PLC0415
    from convnet.registry import FLOAT32, Registry  # noqa: PLC0415

    network = build(EFFICIENTNET_LITE0, ImageSpec(SIDE, SIDE, 3), CLASSES, pretrained=False)
    registry = Registry(models)
    card = registry.add(
        lambda version, checksums: ModelCard(
            version=version,
            classes=tuple(f"class-{number:04d}" for number in range(CLASSES)),
            height=SIDE,
            width=SIDE,
            channels=3,
            network=EFFICIENTNET_LITE0,
            accuracy={FLOAT32: 0.0},
            training_images=0,
            validation_images=0,
            data_fingerprint="none",
            checksums=dict(checksums),
            created_at=datetime.now(UTC),
        ),
        {FLOAT32: litert_float32(network)},
    )
    registry.set_alias("stable", card.version)


def call(connection: HTTPConnection, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> Any:
    """One request; its answer's JSON."""
    connection.request(method, path, body, {"Content-Type": content_type})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status >= 300:
        raise click.ClickException(f"{method} {path} answered {answer.status}: {content.decode()}")
    return orjson.loads(content)


def start_once(stack: Stack, models: Path, photo: bytes) -> Start:
    """Leave a picture in Kafka, start a classifier, wait for the label, end the classifier."""
    address = urlsplit(stack.server_url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=DEADLINE_S)
    job = call(connection, "POST", "/v1/jobs")["job"]
    call(connection, "POST", f"/v1/jobs/{job}/images?name=photo", photo, "image/jpeg")
    environment = os.environ | {
        "CONVNET_CLASSIFIER_MODELS": str(models),
        "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
    }
    moments: dict[str, float] = {}
    before = os.times()
    began = time.time()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.PIPE, text=True)
    reader = threading.Thread(target=_read_log, args=(process, moments), daemon=True)
    reader.start()
    try:
        until = began + DEADLINE_S
        found: dict[str, Any] = {"labels": []}
        while not found["labels"] and time.time() < until and process.poll() is None:
            found = call(connection, "GET", f"/v1/jobs/{job}/labels?wait=10")
        read_at = time.time()
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
        reader.join(DEADLINE_S)
        connection.close()
    if not found["labels"] or "partitions assigned" not in moments:
        raise click.ClickException(f"no label in {DEADLINE_S} s; the classifier said: {moments}")
    marks = [began, *(moments[name] for name in ("imported", "model loaded", "partitions assigned"))]
    marks += [found["labels"][0]["labelled_at_ms"] / 1000, read_at]
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Start(tuple(end - start for start, end in itertools.pairwise(marks)), read_at - began, cpu_s)


def _read_log(process: subprocess.Popen[str], moments: dict[str, float]) -> None:
    """When the classifier said what, in its JSON log; of both lanes' partitions, those of the bulk lane, where the picture waits."""
    for line in process.stderr or ():
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        at = said["at"] if "at" in said else datetime.fromisoformat(said["timestamp"]).timestamp()
        if said.get("lane", "bulk") == "bulk":
            moments.setdefault(said["event"], at)


@click.command(help=__doc__)
@click.option("--starts", default=5, show_default=True, help="Starts that count, after one that warms the disk.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/startup.json"), show_default=True)
def main(*, starts: int, out: Path) -> None:
    """See the module."""
    console = Console()
    with ExitStack() as cleanup:
        root = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="convnet-startup-")))
        models = root / "models"
        maker = multiprocessing.get_context("spawn").Process(target=write_model, args=(models,))
        maker.start()
        maker.join()
        if maker.exitcode != 0:
            raise click.ClickException("the model could not be made; what went wrong stands above")
        model_mb = max(file.stat().st_size for file in models.rglob("*.tflite")) / 1e6
        photo = write_photos(root / "pictures", 1)[0].read_bytes()
        stack = cleanup.enter_context(Stack(StackOptions(models=models, data=root / "data", classifiers=0)))
        measured = [start_once(stack, models, photo) for _ in range(1 + starts)][1:]
    figures = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "model_mb": model_mb,
        "starts": [dict(zip(PHASES, start.phases, strict=True)) | {"total": start.total, "cpu_s": start.cpu_s} for start in measured],
        "median_s": statistics.median(start.total for start in measured),
        "median_cpu_s": statistics.median(start.cpu_s for start in measured),
    }
    save(out, figures)
    table = Table(
        "", "median", "least", "most", title=f"Seconds from start to first label, a model of {model_mb:.1f} MB", title_justify="left"
    )
    rows = [(name, [start.phases[index] for start in measured]) for index, name in enumerate(PHASES)]
    rows += [("whole", [start.total for start in measured]), ("CPU of the process", [start.cpu_s for start in measured])]
    for name, values in rows:
        table.add_row(name, f"{statistics.median(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}")
    console.print(table)
    console.print(f"to reach: {BAR_S:.1f} s; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; written to {out}")


if __name__ == "__main__":
    main()
