"""`convnet-kafka top`: what happens now in one release: rates, waits, who holds what, and what to act on."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live

from convnet_kafka.cli import lookout
from convnet_kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from convnet_kafka.diagnosis.top.collect import Collector
    from convnet_kafka.diagnosis.top.figures import Figures
    from convnet_kafka.diagnosis.top.hints import Hint

# Rates of a single interval jump; those of many looks tell what was.
_WINDOW_S = 10.0
# Between the two looks of `--once`.
_ONCE_S = 2.0
_PLAIN_WIDTH = 160


@click.command(name="top")
@lookout.options
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(0.5, 3600), metavar="SECONDS", help="Between looks.")
@click.option("--once", is_flag=True, help="Look twice, print all of it, and end.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each look.")
def command(
    bootstrap_servers: str | None,
    topic_prefix: str | None,
    endpoints: tuple[str, ...],
    data: Path | None,
    every: float,
    *,
    once: bool,
    as_json: bool,
) -> None:
    """Show what happens now: images in and done, what waits in which partition, who holds it, how long images take, what to act on.

    Replicas are asked at their addresses, Kafka through its own protocol; either is enough for a part of the picture. A stack on this
    machine is found by itself; in a cluster give --endpoint, through `kubectl port-forward` or a headless Service. Ctrl-C ends it. Where
    the output is no terminal it is a line for each look.
    """
    from convnet_kafka.diagnosis.top.collect import Collector  # noqa: PLC0415 - `--help` stays quick

    kafka, note = lookout.kafka_settings(data, bootstrap_servers, topic_prefix)
    addresses = lookout.addresses(endpoints, note)
    try:
        with Collector(kafka, addresses) as collector:
            if once:
                _once(collector, _title(kafka), as_json=as_json)
            elif as_json or not sys.stdout.isatty():
                _lines(collector, every, as_json=as_json)
            else:
                _live(collector, every, _title(kafka))
    except KeyboardInterrupt:
        pass


def _title(kafka: KafkaSettings) -> str:
    return f"{kafka.topic_prefix} on {kafka.bootstrap_servers}"


def looks(collector: Collector, every_s: float, most: int | None = None) -> Iterator[tuple[Figures, list[Hint]]]:
    """Figures again and again, of the last `_WINDOW_S` seconds each.

    Args:
        collector: takes the readings.
        every_s: seconds from the begin of one look to that of the next.
        most: looks at most.
    """
    from convnet_kafka.diagnosis.top.figures import figures  # noqa: PLC0415 - `--help` stays quick
    from convnet_kafka.diagnosis.top.hints import hints  # noqa: PLC0415

    readings = deque([collector.look()])
    due = readings[0].at
    number = 0
    seen = figures(None, readings[0])
    while True:
        yield seen, hints(seen)
        number += 1
        if most is not None and number >= most:
            return
        due = max(due + every_s, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        readings.append(collector.look())
        while len(readings) > 2 and readings[-1].at - readings[1].at >= _WINDOW_S:
            readings.popleft()
        seen = figures(readings[0], readings[-1])


def _once(collector: Collector, title: str, *, as_json: bool) -> None:
    from convnet_kafka.diagnosis.top.plain import as_json as described  # noqa: PLC0415 - `--help` stays quick
    from convnet_kafka.diagnosis.top.view import View  # noqa: PLC0415

    *_, (seen, hints) = looks(collector, _ONCE_S, most=2)
    if as_json:
        click.echo(described(seen, hints))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    view = View(title)
    view.show(seen, hints)
    console.print(view)


def _lines(collector: Collector, every_s: float, *, as_json: bool) -> None:
    from convnet_kafka.diagnosis.top.plain import as_json as described  # noqa: PLC0415 - `--help` stays quick
    from convnet_kafka.diagnosis.top.plain import line  # noqa: PLC0415

    for seen, hints in looks(collector, every_s):
        if seen.seconds:
            click.echo(described(seen, hints) if as_json else line(seen, hints))


def _live(collector: Collector, every_s: float, title: str) -> None:
    from convnet_kafka.diagnosis.top.view import View  # noqa: PLC0415 - `--help` stays quick

    console = Console(highlight=False)
    view = View(title)
    with Live(view, console=console, screen=True, auto_refresh=False) as live:
        for seen, hints in looks(collector, every_s):
            view.show(seen, hints)
            live.refresh()
