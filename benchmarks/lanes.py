"""How long a caller of `classify` waits while 100,000 images wait in the bulk lane, and what bulk gets meanwhile: `lanes.py [--photos]`.

A client fills the bulk lane through HTTP before the classifiers start, and goes on feeding it, so that at least `--waiting` images wait
all the time; then come, in turns, times without calls and times in which several callers call one after the other with one picture each.
Pictures of 28x28 are to be answered within 150 ms, photos (640x427 JPEG for EfficientNet-Lite0 at 224x224) within 300 ms: 99 of 100
calls. A call that is answered without its label (202) counts with its time; one that is refused (503, fast-lane-busy) is told, and more
than 1 % of these is a bar missed. Last comes a flood: the same callers with many pictures in each call, so that the fast lane always has
work.

Bulk's share is the bulk lane's part of the seconds that a classifier was at work (its metric convnet_classifier_stage_seconds) while
calls were made; as bulk always has work, it is what the setting CONVNET_CLASSIFIER_BULK_SHARE promises. The least of all classifiers and
of both kinds of calls is held against the setting. How many bulk images a second were done with and without calls stands beside it: less,
also because callers, server and Kafka take of the same cores. Writes build/lanes[-photos].json; ends with 1 when a bar is missed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from callers import Calls, prepare_callers
from convnet_kafka.diagnosis.endpoints import fetch
from convnet_kafka.diagnosis.top.samples import Samples
from convnet_kafka.local.stack import Stack, StackOptions
from convnet_kafka.messages import Lane
from convnet_kafka.settings import ClassifierSettings
from feeder import Counts, Plan, prepare_feeder
from figures import MS, Bar, circumstances, judge, percentiles, save
from lag import Lag
from replicas import Replica
from workers import Worker
from workload import DIGITS, PHOTOS

LIMIT_MS = {DIGITS.name: 150.0, PHOTOS.name: 300.0}
# More than this part of the calls refused, and the 99th percentile says nothing.
MOST_REFUSED = 0.01
# What is in flight beyond the images that are to wait, as a part of them: on their way into Kafka, or with a label that is not read yet.
MORE = {DIGITS.name: 0.5, PHOTOS.name: 0.1}
# One job that does not end.
FOREVER = 10**9
FILL_DEADLINE_S = 1800.0
ALONE, CALLED, FLOODED = "bulk alone", "with calls", "flooded"
BUSY, DONE = "convnet_classifier_stage_seconds_sum", "convnet_classifier_batch_images_sum"


@dataclass(frozen=True, slots=True)
class Window:
    """What the classifiers did in some seconds.

    Attributes:
        what: the kind of window.
        seconds: its length.
        images: done, by lane, of all classifiers.
        busy_s: seconds at work by lane, of each classifier.
        waiting: images in the bulk lane, the fewer of beginning and end.
    """

    what: str
    seconds: float
    images: Mapping[str, float]
    busy_s: Sequence[Mapping[str, float]]
    waiting: int

    def rate(self, lane: Lane) -> float:
        """Images a second."""
        return self.images[lane.value] / self.seconds

    @property
    def bulk_shares(self) -> list[float]:
        """Bulk's part of the time at work, of each classifier."""
        return [busy[Lane.BULK.value] / sum(busy.values()) for busy in self.busy_s]


@dataclass
class Lanes:
    """What is measured.

    Attributes:
        replicas: all classifiers.
        lag: of the bulk lane.
        caller: calls `classify`.
        callers: how many at once.
        windows: so far.
        calls: so far, by kind of window.
    """

    replicas: Sequence[Replica]
    lag: Lag
    caller: Worker
    callers: int
    windows: list[Window] = field(default_factory=list)
    calls: dict[str, Calls] = field(default_factory=dict)

    def rest(self, seconds: float) -> None:
        """A window without calls."""
        self._window(ALONE, lambda: time.sleep(seconds))

    def call(self, what: str, images: int, seconds: float) -> None:
        """A window with calls of so many images each."""
        self._window(what, lambda: self.calls.setdefault(what, Calls()).add(self._calls(images, seconds)))

    def warm_up(self, seconds: float) -> None:
        """Calls that do not count."""
        self._calls(1, seconds)

    def _calls(self, images: int, seconds: float) -> Calls:
        self.caller.begin(self.callers, images, seconds)
        made: Calls = self.caller.result().detail
        return made

    def _window(self, what: str, work: Callable[[], object]) -> None:
        before, waiting, started = self._samples(), self.lag.images(), time.monotonic()
        work()
        seconds, after = time.monotonic() - started, self._samples()
        gained = [late.since(early) for early, late in zip(before, after, strict=True)]
        images = {lane.value: sum(samples.total(DONE, lane=lane.value) for samples in gained) for lane in Lane}
        busy_s = [{lane.value: samples.total(BUSY, lane=lane.value) for lane in Lane} for samples in gained]
        self.windows.append(Window(what, seconds, images, busy_s, min(waiting, self.lag.images())))

    def _samples(self) -> list[Samples]:
        return [Samples.parse(fetch(f"{replica.url}/metrics").body, (BUSY, DONE)) for replica in self.replicas]


def show(lanes: Lanes, console: Console) -> None:
    """As tables."""
    work = Table("", "bulk images/s", "fast images/s", "bulk's share of the work, least", "waiting, least", title="Classifiers")
    for what in (ALONE, CALLED, FLOODED):
        if kind := [window for window in lanes.windows if window.what == what]:
            rates = [f"{statistics.median(window.rate(lane) for window in kind):,.0f}" for lane in (Lane.BULK, Lane.FAST)]
            share = min(min(window.bulk_shares) for window in kind)
            work.add_row(what, *rates, f"{share:.2f}", f"{min(window.waiting for window in kind):,}")
    console.print(work)
    answers = Table("", "calls", "p50 ms", "p99 ms", "most ms", "late (202)", "refused (503)", title="Calls of classify")
    for what, made in lanes.calls.items():
        times = percentiles(made.seconds)
        row = [f"{value:.1f}" for value in (times["p50"], times["p99"], max(made.seconds, default=0.0) * MS)]
        answers.add_row(what, f"{len(made.seconds):,}", *row, str(made.late), str(made.refused))
    console.print(answers)


@click.command(help=__doc__)
@click.option("--photos", is_flag=True, help="640x427 JPEG photos for EfficientNet-Lite0 at 224x224.")
@click.option("--waiting", default=100_000, show_default=True, help="Images that wait in the bulk lane, at least.")
@click.option("--callers", default=8, show_default=True, help="Calls in flight.")
@click.option("--rounds", default=3, show_default=True, help="Times with calls, and as many without.")
@click.option("--seconds", default=15.0, show_default=True, help="Length of each.")
@click.option("--flood", default=20, show_default=True, help="Pictures in a call of the flood; 0 leaves it out.")
@click.option("--classifiers", default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Figures as JSON; by default build/lanes[-photos].json.")
def main(*, photos: bool, waiting: int, callers: int, rounds: int, seconds: float, flood: int, classifiers: int, out: Path | None) -> None:
    """See the module."""
    console, workload = Console(), PHOTOS if photos else DIGITS
    out = out or Path("build") / f"lanes{'-photos' if photos else ''}.json"
    with ExitStack() as cleanup:
        root = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="convnet-lanes-")))
        files = workload.write(root / "pictures", 400)
        workload.train(root / "models", files, "float32")
        stack = cleanup.enter_context(Stack(StackOptions(models=root / "models", data=root / "data", classifiers=0)))
        feeder = cleanup.enter_context(Worker(prepare_feeder, stack.server_url, files, Counts()))
        cleanup.callback(feeder.kill)
        caller = cleanup.enter_context(Worker(prepare_callers, stack.server_url, files, workload.content_type))
        lag = cleanup.enter_context(Lag(stack.bootstrap_servers))
        feeder.begin(Plan(FOREVER, FOREVER, round(waiting * (1 + MORE[workload.name]))))
        lag.wait_for(round(waiting * (1 + MORE[workload.name] / 2)), FILL_DEADLINE_S, lambda: at_work(feeder))
        console.print(f"{lag.images():,} {workload.what} wait in the bulk lane")
        lanes = Lanes(start(cleanup, stack, root, classifiers), lag, caller, callers)
        lanes.warm_up(seconds / 3)
        for number in range(rounds):
            lanes.rest(seconds)
            lanes.call(CALLED, 1, seconds)
            console.print(f"round {number + 1} of {rounds}: {len(lanes.calls[CALLED].seconds):,} calls so far")
        if flood:
            lanes.call(FLOODED, flood, seconds)
        at_work(feeder)
        around = circumstances()
    figures = around | {"pictures": workload.what, "waiting": waiting, "callers": callers, "flood": flood, "classifiers": classifiers}
    bars = held(lanes, LIMIT_MS[workload.name], waiting)
    show(lanes, console)
    save(out, figures | report(lanes), bars)
    judge(bars, out, console)


def at_work(feeder: Worker) -> bool:
    """True: it has images forever.

    Raises:
        RuntimeError: it has died.
    """
    return not feeder.ended(0) or feeder.result() is None


def start(cleanup: ExitStack, stack: Stack, root: Path, classifiers: int) -> list[Replica]:
    """All classifiers, at work."""
    replicas = [Replica.start(stack, root / "models", root / f"classifier-{number}.log") for number in range(classifiers)]
    for replica in replicas:
        cleanup.callback(replica.end)
    for replica in replicas:
        replica.wait_ready()
    return replicas


def held(lanes: Lanes, limit_ms: float, waiting: int) -> list[Bar]:
    """The figures beside what they are to be."""
    calls = lanes.calls[CALLED]
    share = min(min(window.bulk_shares) for window in lanes.windows if window.what != ALONE)
    return [
        Bar("classify, p99 in ms", percentiles(calls.seconds)["p99"], limit_ms),
        Bar("calls refused, % of all", calls.refused_share * 100, MOST_REFUSED * 100),
        Bar("bulk's share of the classifiers' work", share, ClassifierSettings().bulk_share, at_least=True),
        Bar("images waiting in the bulk lane, least", min(window.waiting for window in lanes.windows), waiting, at_least=True),
    ]


def report(lanes: Lanes) -> dict[str, Any]:
    """For the file."""
    calls = {what: percentiles(made.seconds) | {"late": made.late, "refused": made.refused} for what, made in lanes.calls.items()}
    return {"calls_ms": calls, "windows": lanes.windows}


if __name__ == "__main__":
    main()
