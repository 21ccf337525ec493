"""What paging through a large job costs the server, against reading its partition once: `python benchmarks/paging.py`.

Labels are written straight into Kafka. The bare reader is a confluent-kafka consumer that looks at headers and value of each record, in
this process; the rest is the server process's CPU, and the wall clock of a caller that reads the bytes and takes the cursor from them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable
from dataclasses import dataclass

import aiohttp
import click
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from label_server import LabelServer, LabelWriter

_END = re.compile(rb'"cursor":"(\d+)","total":(?:null|\d+),"complete":(true|false)\}$')
_LABEL = b'{"cursor":"'
_SILENT_S = 30.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What reading everything once took.

    Attributes:
        what: how it was read.
        seconds: wall clock.
        cpu_s: of the process that reads Kafka.
        peak_mib: the most memory that the server process held.
    """

    what: str
    seconds: float
    cpu_s: float
    peak_mib: float = 0.0


def bare(server: LabelServer, labels: int) -> Cost:
    """A plain consumer."""
    consumer = Consumer({"bootstrap.servers": server.bootstrap_servers, "group.id": "bare", "enable.auto.commit": False})
    cpu_s, started = time.process_time(), time.monotonic()
    consumer.assign([TopicPartition(server.topic, 0, 0)])
    seen = 0
    while seen < labels:
        for message in consumer.consume(1000, _SILENT_S):
            if message.error() is None and dict(message.headers() or ()) and message.value():
                seen += 1
    cost = Cost("a bare consumer", time.monotonic() - started, time.process_time() - cpu_s)
    consumer.close()
    return cost


async def stream(server: LabelServer, path: str, labels: int) -> int:
    """One NDJSON stream."""
    seen = 0
    headers, forever = {"Accept": "application/x-ndjson"}, aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(server.url, timeout=forever) as http, http.get(f"{path}/labels", headers=headers) as answer:
        async for piece in answer.content.iter_any():
            seen += piece.count(b"\n")
            if seen >= labels:
                break
    return seen


async def pages(server: LabelServer, path: str, labels: int, limit: int) -> int:
    """Page after page."""
    seen = 0
    cursor: dict[str, str] = {}
    async with aiohttp.ClientSession(server.url) as http:
        while seen < labels:
            async with http.get(f"{path}/labels", params={"limit": str(limit), **cursor}) as answer:
                body = await answer.read()
            end = _END.search(body)
            if answer.status != 200 or end is None:
                raise click.ClickException(f"a page was answered with {answer.status}: {body[:200]!r}")
            seen += body.count(_LABEL)
            cursor = {"cursor": end.group(1).decode()}
    return seen


async def cost_of(server: LabelServer, what: str, labels: int, reading: Awaitable[int]) -> Cost:
    """Of one way to read everything."""
    cpu_s, started = server.cpu_s(), time.monotonic()
    seen = await reading
    if seen != labels:
        raise click.ClickException(f"{what}: {seen} labels instead of {labels}")
    return Cost(what, time.monotonic() - started, server.cpu_s() - cpu_s, server.peak_mib())


async def measure(server: LabelServer, labels: int, limits: tuple[int, ...]) -> list[Cost]:
    """All ways, the bare one first; each of the others in a server process that remembers nothing of the job."""
    path = server.open_job()
    writer = LabelWriter(server, path)
    await asyncio.to_thread(writer.write, range(labels))
    await asyncio.to_thread(writer.flush)
    costs = [await asyncio.to_thread(bare, server, labels)]
    for limit in limits:
        costs.append(await cost_of(server, f"pages of {limit}", labels, pages(server, path, labels, limit)))
        server.kill()
        await asyncio.to_thread(server.start)
    costs.append(await cost_of(server, "one NDJSON stream", labels, stream(server, path, labels)))
    return costs


@click.command(help=__doc__)
@click.option("--labels", default=1_000_000, show_default=True)
@click.option("--bootstrap-servers", help="A Kafka that is running; without it one is started.")
def main(labels: int, bootstrap_servers: str | None) -> None:
    """See the module."""
    with LabelServer(bootstrap_servers) as server:
        costs = asyncio.run(measure(server, labels, (1000, 10_000)))
    first = costs[0]
    table = Table("how", "seconds", "x bare", "CPU s", "x bare", "CPU us a label", "peak MiB", title=f"Reading {labels} labels of one job")
    for cost in costs:
        table.add_row(
            cost.what,
            f"{cost.seconds:.1f}",
            f"{cost.seconds / first.seconds:.2f}",
            f"{cost.cpu_s:.1f}",
            f"{cost.cpu_s / first.cpu_s:.2f}",
            f"{cost.cpu_s / labels * 1e6:.1f}",
            f"{cost.peak_mib:.0f}" if cost.peak_mib else "",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
