"""A million small images in one run: does an image cost at the end what it cost at the beginning? `python benchmarks/million.py`.

Pictures of 28x28 go through a whole stack on this machine (HTTP, Kafka, two classifiers) until their labels are read. The run is looked at
in tenths, of 100,000 each: CPU an image of each kind of process and of all, resident memory of each process, and what waits in the bulk
lane. The first tenth goes as fast as it can, warms everything up and tells how fast to go: all others come at a steady pace, a part
(`--load`) of what it reached, so that a path that slows down falls behind and its lag grows. The bars compare the last tenth with the
second: CPU an image at most 5 % more (less is no fault: the JVM goes on compiling), memory of each process at most 5 % more, and what
waits (the median of looks once a second) at most one second's images more. Every image must have its label.

One client sends job after job, 20,000 images each: the books of a job are its client's and are let go with it. The server's memory of
recent jobs, which by default grows to 64 MiB at 30 bytes an image, is set to 4 MiB, so that it is full before the second tenth ends, and
Kafka's heap, which has a fixed size, is touched at the start: whatever grows beyond these is seen. Writes build/million.json; ends with 1
when a bar is missed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from convnet_kafka.local.stack import Stack, StackOptions
from feeder import Counts, Plan, prepare_feeder
from figures import Bar, circumstances, judge, save
from lag import Lag
from processes import MICRO, cpu_by_process, resident_mib
from workers import Worker
from workload import DIGITS

PARTS = 10
# As many different pictures as there are; each name is its own image all the same.
DIFFERENT = 1797
SEEN_MEMORY_MIB = 4
# Of one that looks at CPU and memory when a tenth is over: 1 % of a tenth goes by in 0.1 s.
_LOOK_S = 0.02
_LAG_EVERY_S = 1.0
# What may be more at the end than in the second tenth.
GROWTH = 0.05
LAG_S = 1.0


@dataclass(frozen=True, slots=True)
class Mark:
    """What had been used when a tenth was over.

    Attributes:
        images: with an outcome.
        at: `time.monotonic()`.
        cpu_s: CPU seconds by kind of process.
        resident_mib: memory by process.
        lag: looks at what waits in the tenth that ends here.
    """

    images: int
    at: float
    cpu_s: dict[str, float]
    resident_mib: dict[str, float]
    lag: list[int]


@dataclass(frozen=True, slots=True)
class Tenth:
    """What a part of the run took.

    Attributes:
        images: how many.
        seconds: wall clock.
        cpu_us: CPU microseconds an image by kind of process, and of the whole path.
        resident_mib: memory by process at its end.
        lag: median of what waited in the bulk lane.
        most_lag: the most that was seen.
    """

    images: int
    seconds: float
    cpu_us: dict[str, float]
    resident_mib: dict[str, float]
    lag: float
    most_lag: int

    @classmethod
    def between(cls, before: Mark, after: Mark) -> Tenth:
        """From one mark to the next."""
        images = after.images - before.images
        cpu_us = {name: (seconds - before.cpu_s[name]) / images * MICRO for name, seconds in after.cpu_s.items()}
        cpu_us["whole path"] = sum(cpu_us.values())
        return cls(images, after.at - before.at, cpu_us, after.resident_mib, statistics.median(after.lag), max(after.lag))


@dataclass
class Watch:
    """Looks at a run while the feeder works.

    Attributes:
        stack: whose processes.
        feeder: the client.
        counts: its.
        lag: of the bulk lane.
        step: images of a tenth.
        console: where each tenth is told.
        marks: so far; the first is the beginning.
    """

    stack: Stack
    feeder: Worker
    counts: Counts
    lag: Lag
    step: int
    console: Console
    marks: list[Mark] = field(default_factory=list)
    _lags: list[int] = field(default_factory=list)
    _lag_at: float = 0.0

    def begin(self) -> None:
        """The beginning is the first mark."""
        self._mark()

    def run(self, plan: Plan) -> float:
        """Have the feeder send a plan's images; its last one ends a tenth. Returns the seconds that it took."""
        self.feeder.begin(plan)
        until = self._done() + plan.images
        while not self.feeder.ended(_LOOK_S):
            self._look()
            due = self.step * len(self.marks)
            if self._done() >= due and due < until:
                self._mark()
        measured = self.feeder.result()
        self._mark()
        return measured.seconds

    def _done(self) -> int:
        return self.counts.labelled + self.counts.failed

    def _look(self) -> None:
        if time.monotonic() >= self._lag_at:
            self._lag_at = time.monotonic() + _LAG_EVERY_S
            self._lags.append(self.lag.images())

    def _mark(self) -> None:
        self._lags.append(self.lag.images())
        processes = {**self.stack.processes, "client": self.feeder.pid}
        self.marks.append(Mark(self._done(), time.monotonic(), cpu_by_process(processes), resident_mib(processes), self._lags))
        self._lags = []
        if len(self.marks) > 1:
            tenth = Tenth.between(self.marks[-2], self.marks[-1])
            cost = tenth.cpu_us["whole path"]
            self.console.print(f"{self._done():,} images: {tenth.images / tenth.seconds:,.0f}/s, {cost:.1f} us of CPU an image")


def bars(tenths: Sequence[Tenth], rate: float, missing: int) -> list[Bar]:
    """The last tenth beside the second."""
    second, last = tenths[1], tenths[-1]
    found = [
        Bar(f"CPU an image, {name}: % more than in the second", (last.cpu_us[name] / cost - 1) * 100, GROWTH * 100)
        for name, cost in second.cpu_us.items()
    ]
    found += [
        Bar(f"memory, {name}: % more than after the second", (last.resident_mib[name] / held - 1) * 100, GROWTH * 100)
        for name, held in second.resident_mib.items()
    ]
    found.append(Bar("lag: seconds of work more than in the second", (last.lag - second.lag) / rate, LAG_S))
    found.append(Bar("images without a label", missing, 0))
    return found


def show(tenths: Sequence[Tenth], console: Console) -> None:
    """As tables."""
    costs = Table("images", "a second", *tenths[0].cpu_us, "lag", "most", title="CPU microseconds an image, and images that wait")
    memory = Table("images", *tenths[0].resident_mib, title="Resident memory at the end of each part, MiB")
    images = 0
    for tenth in tenths:
        images += tenth.images
        cost = (f"{value:.1f}" for value in tenth.cpu_us.values())
        costs.add_row(f"{images:,}", f"{tenth.images / tenth.seconds:,.0f}", *cost, f"{tenth.lag:,.0f}", f"{tenth.most_lag:,}")
        memory.add_row(f"{images:,}", *(f"{held:.1f}" for held in tenth.resident_mib.values()))
    console.print(costs)
    console.print(memory)


@click.command(help=__doc__)
@click.option("--images", default=1_000_000, show_default=True, help="Images of the whole run.")
@click.option("--job-images", default=20_000, show_default=True, help="Images of a job.")
@click.option("--load", default=0.7, show_default=True, help="The pace, as a part of what the first tenth reached.")
@click.option("--in-flight", default=60_000, show_default=True, help="Images sent and not labelled, at most: what bounds the run's memory.")
@click.option("--classifiers", default=2, show_default=True)
@click.option("--server-processes", default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/million.json"), show_default=True)
def main(*, images: int, job_images: int, load: float, in_flight: int, classifiers: int, server_processes: int, out: Path) -> None:
    """See the module."""
    console = Console()
    step = images // PARTS
    images = step * PARTS
    with ExitStack() as cleanup:
        root = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="convnet-million-")))
        files = DIGITS.write(root / "pictures", DIFFERENT)
        DIGITS.train(root / "models", files, "float32")
        options = StackOptions(
            models=root / "models",
            data=root / "data",
            classifiers=classifiers,
            server_processes=server_processes,
            environment={"CONVNET_SERVER_SEEN_MEMORY_MIB": str(SEEN_MEMORY_MIB)},
            broker_jvm_flags=["-XX:+AlwaysPreTouch"],
        )
        stack = cleanup.enter_context(Stack(options))
        counts = Counts()
        feeder = cleanup.enter_context(Worker(prepare_feeder, stack.server_url, files, counts))
        lag = cleanup.enter_context(Lag(stack.bootstrap_servers))
        watch = Watch(stack, feeder, counts, lag, step, console)
        watch.begin()
        rate = load * step / watch.run(Plan(step, job_images, in_flight))
        console.print(f"the others come at {rate:,.0f} a second")
        watch.run(Plan(images - step, job_images, in_flight, rate))
        around = circumstances()
    tenths = [Tenth.between(before, after) for before, after in zip(watch.marks, watch.marks[1:], strict=False)]
    held = bars(tenths, rate, images - counts.labelled)
    show(tenths, console)
    figures: dict[str, Any] = around | {
        "images": images,
        "pace": rate,
        "load_of_the_path": load,
        "job_images": job_images,
        "in_flight": in_flight,
        "classifiers": classifiers,
        "server_processes": server_processes,
        "seconds": watch.marks[-1].at - watch.marks[0].at,
        "failed": counts.failed,
        "tenths": tenths,
    }
    save(out, figures, held)
    judge(held, out, console)


if __name__ == "__main__":
    main()
