"""What observing costs: CPU an image of the whole path with metrics and JSON logs against the same path without, in one run.

All sides run at once on one Kafka, each with a server, two classifiers and a client of its own, and work in turns; the others idle.
`on` is what the product does, with its access log and a scraper that asks each process every 5 s. `off` counts nothing, logs nothing and
makes no statistics of its Kafka clients (benchmarks/unobserved). `sampled` is `on` with a sampler that records 1 % of the uploads, `traced`
with one of a hundred images traced, whichever upload they are in; both are compared with `on`, and their collector is not counted. Writes
build/observability.json and prints a table.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

import traces
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.stack import Stack, StackOptions
from figures import save, spread
from processes import MICRO, cpu_by_process
from workers import Worker
from workload import DIGITS

UNOBSERVED = Path(__file__).parent / "unobserved"
OFF, ON, SAMPLED, TRACED = "off", "on", "sampled", "traced"
# What each side adds to the environment of its processes; those with traces add what traces.py says.
SIDES: Mapping[str, Mapping[str, str]] = {
    OFF: {"PYTHONPATH": str(UNOBSERVED), "KAFKA_CLIENT_OPTIONS": '{"statistics.interval.ms": 0}'},
    ON: {"CONVNET_SERVER_ACCESS_LOG": "true"},
    SAMPLED: {"CONVNET_SERVER_ACCESS_LOG": "true"},
    TRACED: {"CONVNET_SERVER_ACCESS_LOG": "true"},
}
# What a side is compared with.
BASES = {ON: OFF, SAMPLED: ON, TRACED: ON}
# Observing may cost so much, as a part of what the path costs without.
BAR = 0.03
SCRAPE_S = 5.0
# As Prometheus asks.
ACCEPT = {"Accept": "application/openmetrics-text;version=1.0.0"}
WARM_UP_ROUNDS = 3
# A round's ends, where not everybody has work, vary by more than what is looked for: rounds are long.
IMAGES = 100_000


@dataclass
class Side:
    """One running side.

    Attributes:
        stack: its server and classifiers.
        client: sends and reads.
        cpu_us: CPU microseconds an image, by process, one figure a round.
    """

    stack: Stack
    client: Worker
    cpu_us: dict[str, list[float]] = field(default_factory=dict)

    def round(self, broker: int, folder: Path, images: int) -> None:
        """Send all images and read their labels."""
        processes = {**self.stack.processes, "broker": broker}
        before = cpu_by_process(processes)
        self.client.begin("bulk", folder, "")
        answer = self.client.result()
        after = cpu_by_process(processes)
        if answer.detail != (images, 0):
            raise click.ClickException(f"{answer.detail} labels and failures for {images} images")
        spent = {name: after[name] - before[name] for name in after} | {"client": answer.cpu_s}
        for name, seconds in spent.items():
            self.cpu_us.setdefault(name, []).append(seconds / images * MICRO)

    def totals(self, without: Sequence[str] = ()) -> list[float]:
        """CPU microseconds an image of all processes but these, one figure a round."""
        counted = [values for process, values in self.cpu_us.items() if process not in without]
        return [sum(values) for values in zip(*counted, strict=True)]

    def accepted(self) -> float:
        """Images that its server says it has accepted."""
        with urllib.request.urlopen(f"{self.stack.server_url}/metrics", timeout=10) as answer:  # noqa: S310 - an address of ours
            families = text_string_to_metric_families(answer.read().decode())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "convnet_server_images_total" and sample.labels["outcome"] == "accepted"
        )


@contextmanager
def scraped(stack: Stack) -> Iterator[None]:
    """Ask every process for its metrics, as Prometheus does."""
    stop = threading.Event()

    def scrape() -> None:
        while not stop.wait(SCRAPE_S):
            for url in stack.urls.values():
                request = urllib.request.Request(f"{url}/metrics", headers=ACCEPT)  # noqa: S310 - an address of ours
                with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
                    answer.read()

    thread = threading.Thread(target=scrape, name="scraper", daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join()


def compared(sides: Mapping[str, Side]) -> dict[str, dict[str, Any]]:
    """Each side's cost, and what it costs beyond what it is compared with, by round."""
    figures: dict[str, dict[str, Any]] = {}
    for name, side in sides.items():
        base = sides.get(BASES.get(name, name), side)
        figures[name] = {
            "cpu_us_per_image": {process: spread(values) for process, values in side.cpu_us.items()},
            "cpu_us_per_image_total": spread(side.totals()),
            "compared_with": BASES.get(name),
        }
        for of, without in (("extra", ()), ("extra_without_broker", ("broker",))):
            extra = [mine / theirs - 1 for mine, theirs in zip(side.totals(without), base.totals(without), strict=True)]
            figures[name] |= {of: statistics.median(extra), f"{of}_rounds": extra}
    return figures


def show(sides: Mapping[str, Side], figures: Mapping[str, dict[str, Any]], console: Console) -> None:
    """As a table."""
    table = Table("CPU microseconds an image, median (least to most)", *sides, title_justify="left")
    for process in next(iter(sides.values())).cpu_us:
        table.add_row(process, *(_span(side.cpu_us[process]) for side in sides.values()))
    table.add_row("whole path", *(_span(side.totals()) for side in sides.values()))
    # What the broker's JVM takes varies most from round to round, whoever uses it.
    for what, of in (("beyond", "extra_rounds"), ("beyond, without the broker", "extra_without_broker_rounds")):
        compared_sides = {name: BASES[name] for name in sides if BASES.get(name) in sides}
        cells = (f"{compared_sides[name]}: {_percent(figures[name][of])}" if name in compared_sides else "" for name in sides)
        table.add_row(what, *cells)
    console.print(table)


def _span(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _percent(values: list[float]) -> str:
    return f"{statistics.median(values):+.1%} ({min(values):+.1%} to {max(values):+.1%})"


@click.command(help=__doc__)
@click.option("--images", default=IMAGES, show_default=True, help="Images a round.")
@click.option("--rounds", "count", default=7, show_default=True, help="Rounds of each side, interleaved.")
@click.option("--warm-up", default=WARM_UP_ROUNDS, show_default=True, help="Rounds before those that count.")
@click.option(
    "--side", "chosen", default=list(SIDES), show_default=True, multiple=True, type=click.Choice(list(SIDES)), help="Only these sides."
)
@click.option(
    "--out", default=Path("build/observability.json"), show_default=True, type=click.Path(path_type=Path), help="Figures as JSON."
)
def main(*, images: int, count: int, warm_up: int, chosen: tuple[str, ...], out: Path) -> None:
    """See the module."""
    console = Console()
    with ExitStack() as cleanup:
        root = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="convnet-observability-")))
        files = DIGITS.write(root / "pictures", images)
        DIGITS.train(root / "models", files, "float32")
        broker = cleanup.enter_context(LocalBroker(root / "broker"))
        collector = cleanup.enter_context(Worker(traces.prepare_collector, root / "port"))
        url = f"http://127.0.0.1:{(root / 'port').read_text()}"
        traced = {SAMPLED: traces.sampled(url), TRACED: traces.every_upload(url)}
        sides: dict[str, Side] = {}
        for name in chosen:
            environment, more = SIDES[name], traced.get(name, {})
            options = StackOptions(
                models=root / "models",
                data=root / name,
                bootstrap_servers=broker.bootstrap_servers,
                environment={"KAFKA_TOPIC_PREFIX": name, **environment, **more},
            )
            stack = cleanup.enter_context(Stack(options))
            sides[name] = Side(stack, cleanup.enter_context(Worker(traces.prepare_traced_client, stack.server_url, more)))
            if name != OFF:
                cleanup.enter_context(scraped(stack))
        for number in range(warm_up + count):
            if number == warm_up:
                for side in sides.values():
                    side.cpu_us = {}
            # Whoever comes second finds warmer caches: each side does every other time.
            for side in sides.values() if number % 2 else reversed(list(sides.values())):
                side.round(broker.pid or 0, root / "pictures", images)
            totals = ", ".join(f"{name} {side.totals()[-1]:.1f}" for name, side in sides.items())
            console.print(f"{'warm-up' if number < warm_up else f'round {number - warm_up + 1} of {count}'}: {totals} us")
        expected = {name: 0 if name == OFF else images * (warm_up + count) for name in sides}
        if (accepted := {name: side.accepted() for name, side in sides.items()}) != expected:
            raise click.ClickException(f"the sides are not what they should be: they say they accepted {accepted}, not {expected}")
        figures = compared(sides)
        collector.begin()
        spans: dict[str, int] = collector.result().detail
        for name in sides.keys() & traced.keys():
            images_traced = spans.get(f"wait {name}.images", 0)
            figures[name]["traced_share"] = images_traced / (images * (warm_up + count))
        show(sides, figures, console)
    report = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "images": images, "rounds": count, "bar": BAR, "sides": figures}
    save(out, report)
    for name in sides.keys() & traced.keys():
        console.print(f"{name}: {figures[name]['traced_share']:.2%} of the images were traced")
    console.print(f"at most {BAR:.0%} beyond; written to {out}")


if __name__ == "__main__":
    main()
