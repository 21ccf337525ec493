"""What the local Kafka spends per record under different JVM flags: start time, memory, and the JVM's CPU for produce plus consume.

Run `python benchmarks/broker_jvm.py`. `burst` is as fast as one client goes, in large requests; `steady` is a given rate with a reader
that follows live, so that small requests dominate as they do behind our server. The numbers are the JVM's own user and system time.
"""

from __future__ import annotations

import threading
import time

import click
import psutil
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without `as`

from convnet_kafka.local.broker import LocalBroker

# name -> (heap in MiB, flags after ours, Kafka settings)
CANDIDATES: dict[str, tuple[int, list[str], dict[str, str]]] = {
    "serial 256": (256, [], {}),
    "serial 384": (384, [], {}),
    "serial 256, C1 only": (256, ["-XX:TieredStopAtLevel=1"], {}),
    "serial 256, compact headers": (256, ["-XX:+UseCompactObjectHeaders"], {}),
    "parallel 256": (256, ["-XX:-UseSerialGC", "-XX:+UseParallelGC"], {}),
    "G1 256": (256, ["-XX:-UseSerialGC", "-XX:+UseG1GC"], {}),
    "serial 256, 1 network 2 io": (256, [], {"num.network.threads": "1", "num.io.threads": "2"}),
}
# The bytes of a small PNG, and a batching between that of our bulk and fast lanes.
VALUE = bytes(500)
LINGER_MS = 2
TOPIC = "benchmark"
PARTITIONS = 2
# The producer sleeps this long between its portions in the steady part.
TICK_S = 0.002


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of the process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def produce(bootstrap: str, records: int, rate: float | None) -> None:
    """Produce the records, at most `rate` a second."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": LINGER_MS, "acks": "all", "enable.idempotence": True})
    began = time.monotonic()
    sent = 0
    while sent < records:
        due = records if rate is None else min(records, int((time.monotonic() - began) * rate))
        while sent < due:
            try:
                producer.produce(TOPIC, VALUE)
                sent += 1
            except BufferError:
                producer.poll(0.1)
        producer.poll(TICK_S)
    producer.flush()


def consume(consumer: Consumer, records: int) -> None:
    """Read that many records on."""
    seen = 0
    while seen < records:
        seen += len(consumer.consume(1000, 1.0))


def measure(name: str, *, burst: int, rate: int, seconds: int) -> str:
    """Run one candidate and return its line of the table."""
    heap_mib, flags, settings = CANDIDATES[name]
    began = time.monotonic()
    with LocalBroker(heap_mib=heap_mib, jvm_flags=flags, overrides=settings) as broker:
        start_s = time.monotonic() - began
        bootstrap = broker.bootstrap_servers
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result()
        process = psutil.Process(broker.pid)
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "benchmark", "enable.auto.commit": False})
        consumer.assign([TopicPartition(TOPIC, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
        spent = []
        # A burst also warms the JVM up; the steady part comes twice, the second without compiling.
        for records, pace in ((burst, None), (rate * seconds, rate), (rate * seconds, rate)):
            before = cpu_seconds(process)
            reader = threading.Thread(target=consume, args=(consumer, records))
            reader.start()
            produce(bootstrap, records, pace)
            reader.join()
            spent.append((cpu_seconds(process) - before) / records * 1e6)
        consumer.close()
        each = "  ".join(f"{value:7.1f}" for value in spent)
        return f"{name:30} {start_s:8.2f} {process.memory_info().rss >> 20:8d}  {each}"


@click.command()
@click.option("--burst", default=300_000, show_default=True, help="Records of 500 bytes in the burst.")
@click.option("--rate", default=5_000, show_default=True, help="Records a second in the steady part.")
@click.option("--seconds", default=10, show_default=True, help="Seconds of each of the two steady parts.")
@click.option("--only", multiple=True, type=click.Choice(list(CANDIDATES)), help="Measure only these.")
def main(burst: int, rate: int, seconds: int, only: tuple[str, ...]) -> None:
    """Measure every candidate and print a table."""
    click.echo(f"{'':49}  CPU us per record")
    click.echo(f"{'flags':30} {'start s':>8} {'RSS MiB':>8}  {'burst':>7}  {'steady':>7}  {'again':>7}")
    for name in only or CANDIDATES:
        click.echo(measure(name, burst=burst, rate=rate, seconds=seconds))


if __name__ == "__main__":
    main()
