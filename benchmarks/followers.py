"""Many SSE followers of one job on one server process: `python benchmarks/followers.py`.

Every follower must get every label, in order and once; how late they come, what the server needs for it, and how long it takes until all
are live again when all reconnect at once, to the same process and to a fresh one. Labels are written straight into Kafka, at a steady rate.
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import click
from rich.console import Console
from rich.table import Table

from convnet_kafka.messages import now_ms
from convnet_kafka.replies import MOST_RESULTS
from label_server import LabelServer, LabelWriter

_IDS = re.compile(rb"id: (\d+)\nevent: label\n")
_TIMES = re.compile(rb'"labelled_at_ms":(\d+)')
# Labels are written in small steps, as classifiers publish them.
_STEP_S = 0.02
_MARKER_EVERY_S = 0.2
_PATIENCE_S = 300.0


@dataclass
class Report:
    """What was measured.

    Attributes:
        rows: what, and how much.
        p99_s: seconds from a label's making to its arrival at a follower; all labels of all followers.
        storms_s: seconds until all followers were live again, for each storm.
        peak_mib: the most memory the server took.
    """

    rows: list[tuple[str, str]] = field(default_factory=list)
    p99_s: float = 0.0
    storms_s: list[float] = field(default_factory=list)
    peak_mib: float = 0.0


class Follower(asyncio.Protocol):
    """One follower. Reads only what it must to check order and time; events never cross the server's chunks."""

    def __init__(self, path: str, last_id: int | None, delays: Counter[int]) -> None:
        self._request = f"GET {path}/labels HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
        if last_id is not None:
            self._request += f"Last-Event-ID: {last_id}\r\n"
        self._delays = delays
        self._rest = b""
        self._transport: asyncio.BaseTransport | None = None
        self.last_id = last_id
        self.received = 0
        self.wrong = 0
        self.newest_ms = 0
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(self._request.encode() + b"\r\n")

    def data_received(self, data: bytes) -> None:
        """Count, and look at the clock."""
        data = self._rest + data
        whole, _, self._rest = data.rpartition(b"\n\n")
        ids = list(map(int, _IDS.findall(whole + b"\n\n")))
        if not ids:
            return
        # The writer puts one label into a record, and a place counts by records.
        first = ids[0] if self.last_id is None else self.last_id + MOST_RESULTS
        self.wrong += ids != list(range(first, first + len(ids) * MOST_RESULTS, MOST_RESULTS))
        self.received += len(ids)
        self.last_id = ids[-1]
        now = now_ms()
        for moment, count in Counter(_TIMES.findall(whole)).items():
            self._delays[now - int(moment)] += count
            self.newest_ms = max(self.newest_ms, int(moment))

    def connection_lost(self, _error: Exception | None) -> None:
        """Note it: no server ends these streams unless it dies."""
        self.lost = True

    def abort(self) -> None:
        """Break it off."""
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()


class Crowd:
    """All followers of one job.

    Args:
        server: where they read.
        path: the job's.
        size: how many.
    """

    def __init__(self, server: LabelServer, path: str, size: int) -> None:
        self._server = server
        self._path = path
        self._size = size
        self.delays: Counter[int] = Counter()
        self.followers: list[Follower] = []

    async def connect(self, last_ids: list[int | None]) -> None:
        """All at once."""
        loop = asyncio.get_running_loop()

        async def one(last_id: int | None) -> Follower:
            _, follower = await loop.create_connection(lambda: Follower(self._path, last_id, self.delays), "127.0.0.1", self._server.port)
            return follower

        self.followers = list(await asyncio.gather(*map(one, last_ids)))

    async def until(self, condition: Callable[[Follower], bool], what: str) -> float:
        """Seconds until a condition holds for all."""
        started = time.monotonic()
        while not all(map(condition, self.followers)):
            if any(follower.lost or follower.wrong for follower in self.followers):
                raise click.ClickException(f"a follower lost its connection, a label, or the order ({what})")
            if time.monotonic() - started > _PATIENCE_S:
                raise click.ClickException(f"{what}: not within {_PATIENCE_S:.0f} s")
            await asyncio.sleep(0.005)
        return time.monotonic() - started

    def break_off(self) -> None:
        """All at once."""
        for follower in self.followers:
            follower.abort()


def steadily(writer: LabelWriter, first: int, count: int, rate: float) -> None:
    """Write labels at a rate, in a thread of its own."""
    started = time.monotonic()
    done = 0
    while done < count:
        due = min(count, int((time.monotonic() - started) * rate) + 1)
        writer.write(range(first + done, first + due))
        writer.flush()
        done = due
        time.sleep(_STEP_S)


async def storm(crowd: Crowd, writer: LabelWriter, first: int, last_ids: list[int | None]) -> float:
    """Seconds from the moment all connect until each has shown a label that was made after that moment."""
    stop = threading.Event()

    def markers() -> None:
        number = first
        while not stop.wait(_MARKER_EVERY_S):
            writer.write([number])
            writer.flush()
            number += 1

    thread = threading.Thread(target=markers)
    started, started_ms = time.monotonic(), now_ms()
    thread.start()
    try:
        await crowd.connect(last_ids)
        await crowd.until(lambda follower: follower.newest_ms >= started_ms, "live again")
        return time.monotonic() - started
    finally:
        stop.set()
        await asyncio.to_thread(thread.join)


async def measure(server: LabelServer, size: int, labels: int, rate: float) -> Report:
    """All of it."""
    report = Report()
    path = server.open_job()
    writer = LabelWriter(server, path)
    crowd = Crowd(server, path, size)
    await crowd.connect([None] * size)
    # One label that all have: everybody is live before the clock runs.
    writer.write([0])
    await crowd.until(lambda follower: follower.received == 1, "connected")
    crowd.delays.clear()
    cpu_s, starved_s, started = server.cpu_s(), server.starved_s(), time.monotonic()
    writing = asyncio.create_task(asyncio.to_thread(steadily, writer, 1, labels, rate))
    await crowd.until(lambda follower: follower.received == labels + 1, "every label at every follower")
    await writing
    seconds, cpu_s = time.monotonic() - started, server.cpu_s() - cpu_s
    report.p99_s = percentile(crowd.delays, 0.99)
    report.rows += [
        ("followers, labels", f"{size}, {labels} at {rate:.0f}/s; each follower got each label once and in order"),
        ("delay p50 / p99 / max", f"{percentile(crowd.delays, 0.5):.3f} / {report.p99_s:.3f} / {max(crowd.delays) / 1000:.3f} s"),
        ("server CPU", f"{cpu_s:.1f} s in {seconds:.1f} s; {cpu_s / (size * labels) * 1e6:.2f} us a label and follower"),
        ("server ready to run, but no core free", f"{server.starved_s() - starved_s:.1f} s of these"),
        ("server memory, peak", f"{server.peak_mib():.0f} MiB"),
    ]
    source = random.Random(1)  # noqa: S311 - the same places in every run
    begin = (crowd.followers[0].last_id or 0) - labels * MOST_RESULTS
    for number, what in enumerate(("the same process", "a process that was just started")):
        last_ids: list[int | None] = [source.randrange(begin, begin + labels * MOST_RESULTS, MOST_RESULTS) for _ in range(size)]
        crowd.break_off()
        report.peak_mib = max(report.peak_mib, server.peak_mib())
        if number:
            server.kill()
            await asyncio.to_thread(server.start)
        report.storms_s.append(await storm(crowd, writer, labels + 1 + 1000 * (number + 1), last_ids))
        report.rows.append((f"reconnect of all to {what}", f"{report.storms_s[-1]:.1f} s until all are live"))
    report.peak_mib = max(report.peak_mib, server.peak_mib())
    report.rows.append(("server memory, peak of all", f"{report.peak_mib:.0f} MiB"))
    crowd.break_off()
    return report


def percentile(delays: Counter[int], part: float) -> float:
    """Of milliseconds and how often each was seen, in seconds."""
    wanted = part * delays.total()
    seen = 0
    for delay in sorted(delays):
        seen += delays[delay]
        if seen >= wanted:
            return delay / 1000
    return 0.0


@click.command(help=__doc__)
@click.option("--followers", default=500, show_default=True)
@click.option("--labels", default=10_000, show_default=True)
@click.option("--rate", default=500.0, show_default=True, help="Labels a second.")
@click.option("--bootstrap-servers", help="A Kafka that is running; without it one is started.")
def main(followers: int, labels: int, rate: float, bootstrap_servers: str | None) -> None:
    """See the module."""
    with LabelServer(bootstrap_servers) as server:
        report = asyncio.run(measure(server, followers, labels, rate))
    table = Table("what", "measured", title="SSE followers of one job on one server process")
    for row in report.rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
