"""`convnet-kafka demo`: from pictures to served labels in one go, on real digits, each step numbered and timed."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import platformdirs
from rich.console import Console
from rich.status import Status

from convnet_kafka.errors import LocalStackError

if TYPE_CHECKING:
    from convnet_kafka.client.label import Label

# What a good run reaches with room to spare: 97% after 12 epochs, 90% after 3.
WANTED_ACCURACY = 0.9
_EPOCHS = 12
# Java compiles what is hot, and pools fill, during the first ones.
_JOBS = 8
_SINGLE_CALLS = 50
_WARM_UP_CALLS = 10
_INTERRUPTED = 130


@click.command(name="demo")
@click.option("--classifiers", default=2, show_default=True, type=click.IntRange(1, 16), help="Classifiers that share the work.")
@click.option("--epochs", default=_EPOCHS, show_default=True, type=click.IntRange(min=1), help="Passes over the training pictures.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep pictures, labels, logs and Kafka's data in this folder."
)
def command(classifiers: int, epochs: int, keep: Path | None) -> None:
    """Train on real handwritten digits, start Kafka, a server and classifiers, classify, and print accuracy and speed.

    Ends with 0 when every image has a label and nine in ten are right.
    """
    models = platformdirs.user_cache_path("convnet-kafka") / "demo" / "models"
    try:
        with ExitStack() as cleanup:
            folder = keep or Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="convnet-demo-")))
            good = Demo(folder, models, classifiers, epochs, kept=keep is not None).run()
    except KeyboardInterrupt:
        click.echo("\nstopped; nothing is left running", err=True)
        sys.exit(_INTERRUPTED)
    sys.exit(0 if good else 1)


@dataclass(frozen=True, slots=True)
class Measured:
    """What classifying gave.

    Attributes:
        labels: one outcome for each held-out picture.
        seconds: of each job, from the first byte sent to the last label read.
        single_ms: milliseconds of single calls, sorted.
    """

    labels: list[Label]
    seconds: list[float]
    single_ms: list[float]

    @property
    def right(self) -> int:
        """Pictures whose label is the folder they lie in."""
        return sum(label.label == label.name.partition("/")[0] for label in self.labels)

    @property
    def failed(self) -> int:
        """Pictures without a label."""
        return sum(label.error is not None for label in self.labels)


class Demo:
    """The steps.

    Args:
        folder: for everything that is made, except the model.
        models: where the trained model is kept for the next time.
        classifiers: how many.
        epochs: of training.
        kept: whether the folder stays.
    """

    def __init__(self, folder: Path, models: Path, classifiers: int, epochs: int, *, kept: bool) -> None:
        self._folder = folder
        self._models = models
        self._classifiers = classifiers
        self._epochs = epochs
        self._kept = kept
        self._console = Console(highlight=False)
        self._step = 0

    def run(self) -> bool:
        """Do it all; returns whether the result is as it should be."""
        from convnet.digits import write_digits  # noqa: PLC0415 - `--help` stays quick
        from convnet_kafka.local.stack import Stack, StackOptions  # noqa: PLC0415

        started = time.monotonic()
        with self._timed("Pictures: 1,797 real handwritten digits as PNG files, one folder a class"):
            digits = write_digits(self._folder / "digits")
            held_out = sum(1 for _ in digits.test.rglob("*.png"))
            self._say(f"{held_out} of them are held out: the network never sees them in training")
        with self._timed("Training: the convolutional network, on this machine"):
            self._train(digits.train)
        options = StackOptions(models=self._models, data=self._folder / "data", classifiers=self._classifiers)
        with self._timed(f"Starting: a real Kafka, the HTTP server, {self._classifiers} classifiers"):
            stack = Stack(options)
            stack.__enter__()
        try:
            self._say(f"server at {stack.server_url}, Kafka at {stack.bootstrap_servers}")
            with self._timed(f"Classifying: {held_out} held-out pictures over HTTP and Kafka, then single ones"):
                measured = asyncio.run(self._classify(stack.server_url, digits.test, sorted(digits.test.rglob("*.png"))))
                self._tell(measured)
        finally:
            with self._timed("Stopping: classifiers and server, then Kafka"):
                stack.stop()
        good = not measured.failed and measured.right >= WANTED_ACCURACY * len(measured.labels)
        self._where_next(good, time.monotonic() - started)
        return good

    def _train(self, folder: Path) -> None:
        """In a process of its own, whose memory TensorFlow may keep."""
        command = [sys.executable, "-m", "convnet_kafka", "train", str(folder), "--models", str(self._models), "--colors", "grey"]
        command += ["--epochs", str(self._epochs), "--json"]
        with (
            self._console.status("   reading the pictures", spinner_style="cyan") as status,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child,  # noqa: S603 - our own program
        ):
            said = [line for line in child.stderr or () if not self._told(line, status)]
            answer = child.stdout.read() if child.stdout is not None else ""
        if child.returncode < 0 or child.returncode == _INTERRUPTED:
            raise KeyboardInterrupt
        if child.returncode:
            raise LocalStackError(f"training ended with exit code {child.returncode}; it said last:\n  {'  '.join(said[-10:])}")
        outcome: dict[str, Any] = json.loads(answer)
        how = "kept from an earlier demo, nothing had to be trained" if outcome["reused"] else f"trained on {outcome['training_images']:,}"
        self._say(
            f"version {outcome['version']} ({how}); {outcome['accuracy']:.1%} right on {outcome['held_out_images']} pictures set aside"
        )
        self._say(f"kept in {self._models}, so that the next demo takes seconds")

    @staticmethod
    def _told(line: str, status: Status) -> bool:
        """Show an event of the training; False when the line is none."""
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError:
            return False
        if event.get("event") == "epoch":
            right = event["validation_accuracy"]
            status.update(f"   epoch {event['epoch']} of {event['epochs']}: {right:.1%} right on pictures set aside")
        return True

    async def _classify(self, server_url: str, folder: Path, files: list[Path]) -> Measured:
        from convnet_kafka.client import Client  # noqa: PLC0415 - `--help` stays quick

        async with Client(server_url) as client:
            labels: list[Label] = []
            seconds, single = [], []
            for _ in range(_JOBS):
                started = time.monotonic()
                labels = [label async for label in client.classify([folder])]
                seconds.append(time.monotonic() - started)
            for number, file in enumerate(files[: _WARM_UP_CALLS + _SINGLE_CALLS]):
                content = await asyncio.to_thread(file.read_bytes)
                begun = time.perf_counter()
                await client.classify_one(content, file.name)
                if number >= _WARM_UP_CALLS:
                    single.append((time.perf_counter() - begun) * 1000)
        return Measured(labels, seconds, sorted(single))

    def _tell(self, measured: Measured) -> None:
        count = len(measured.labels)
        self._say(f"[bold]{measured.right} of {count} right: accuracy {measured.right / count:.1%}[/bold]")
        if measured.failed:
            self._say(f"[red]{measured.failed} have no label[/red]")
        first, best = measured.seconds[0], min(measured.seconds)
        self._say(f"{count} images in {first:.2f} s the first time, {best:.2f} s once warm: {count / best:,.0f} images/s")
        self._say(f"one image at a time: {statistics.median(measured.single_ms):.1f} ms, median of {len(measured.single_ms)}")
        if self._kept:
            self._write(measured.labels)

    def _write(self, labels: list[Label]) -> None:
        from convnet_kafka.client.output import Output  # noqa: PLC0415

        output = Output(self._folder / "labels.csv")
        output.write(sorted(labels))
        self._say(f"labels in {output.path}")

    def _where_next(self, good: bool, seconds: float) -> None:
        self._console.print(f"\n{'Done' if good else '[red]Not as it should be[/red]'} in {seconds:.0f} s. Nothing is left running.")
        left = [f"the model in {self._models}"] + ([f"everything else in {self._folder}"] if self._kept else [])
        self._console.print(f"What stays: {' and '.join(left)}.", soft_wrap=True)
        self._console.print(
            "Next:\n"
            "  your own classes, one folder each:  convnet-kafka train FOLDER\n"
            f"  this model, until Ctrl-C:           convnet-kafka up --models {self._models}\n"
            "  your own pictures:                  convnet-kafka classify FOLDER",
            soft_wrap=True,
        )

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        self._step += 1
        self._console.print(f"[bold cyan]{self._step}.[/bold cyan] {what}", soft_wrap=True)
        started = time.monotonic()
        yield
        self._say(f"[dim]{time.monotonic() - started:.1f} s[/dim]")

    def _say(self, text: str) -> None:
        self._console.print(f"   {text}", soft_wrap=True)
