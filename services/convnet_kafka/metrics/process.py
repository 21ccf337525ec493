"""What every service shows of its process: CPU, memory, files, garbage collection, and which version it is.

The client library reads these when it is scraped, but only of a process that is scraped itself. Where several answer for one another each
writes its own part down, so that the scraped one can add them up.
"""

from __future__ import annotations

import platform

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.gc_collector import GCCollector

import convnet_kafka
from convnet_kafka.metrics.catalogue import Across, Catalogue, Metric
from convnet_kafka.metrics.exposition import several_processes

_GENERATIONS = ("0", "1", "2")
_ACROSS: dict[str, Across] = {
    "process_resident_memory_bytes": "livesum",
    "process_virtual_memory_bytes": "livesum",
    "process_open_fds": "livesum",
    "process_max_fds": "livemin",
    "process_start_time_seconds": "livemin",
}
_METRICS = (
    Metric(
        "process_cpu_seconds_total",
        "counter",
        "seconds",
        "CPU time, user and system.",
        "Its rate near the CPU limit: more replicas, or a higher limit.",
        {},
    ),
    Metric(
        "process_resident_memory_bytes",
        "gauge",
        "bytes",
        "Memory that is held.",
        "Near the limit: see what is bounded by which setting in operations.md.",
        {},
    ),
    Metric("process_virtual_memory_bytes", "gauge", "bytes", "Address space; says little by itself.", "", {}),
    Metric("process_open_fds", "gauge", "files", "Open files and sockets.", "Near process_max_fds: raise the limit of open files.", {}),
    Metric("process_max_fds", "gauge", "files", "How many may be open.", "", {}),
    Metric(
        "process_start_time_seconds",
        "gauge",
        "seconds",
        "When it started, unix time; of several processes the first.",
        "Changes without a deployment: look at why it ended (kubectl describe, the log before).",
        {},
    ),
    Metric(
        "python_gc_collections_total",
        "counter",
        "collections",
        "Garbage collections by generation.",
        "More than a few a second: something makes cycles for every image.",
        {"generation": _GENERATIONS},
    ),
    Metric("python_gc_objects_collected_total", "counter", "objects", "Objects freed by them.", "", {"generation": _GENERATIONS}),
    Metric(
        "python_gc_objects_uncollectable_total",
        "counter",
        "objects",
        "Objects that they could not free.",
        "Any at all: an extension leaks, report it.",
        {"generation": _GENERATIONS},
        rare=True,
    ),
)


class ProcessMetrics:
    """Of one process.

    Args:
        make: makes metrics.
    """

    def __init__(self, make: Catalogue) -> None:
        make.gauge(
            "convnet_build_info",
            "Always 1; its labels say what runs.",
            unit="1",
            across="livemax",
            todo="Two versions for longer than a roll-out takes: it is stuck.",
            labels={"version": "of convnet-kafka", "python": "of Python"},
        ).labels(convnet_kafka.__version__, platform.python_version()).set(1)
        for metric in _METRICS:
            make.describe(metric)
        self._sources: CollectorRegistry | None = None
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._counted: dict[tuple[str, tuple[str, ...]], float] = {}
        if not several_processes():
            ProcessCollector(registry=make.registry)
            GCCollector(make.registry)
            return
        self._sources = CollectorRegistry()
        ProcessCollector(registry=self._sources)
        GCCollector(self._sources)
        for metric in _METRICS:
            names = list(metric.labels)
            if metric.kind == "counter":
                self._counters[metric.name] = Counter(metric.name, metric.means, names, registry=make.registry)
            else:
                mode = _ACROSS[metric.name]
                self._gauges[metric.name] = Gauge(metric.name, metric.means, names, registry=make.registry, multiprocess_mode=mode)

    def sample(self) -> None:
        """Write down this process's part; nothing to do for one that is scraped itself."""
        if self._sources is None:
            return
        for family in self._sources.collect():
            for sample in family.samples:
                if (gauge := self._gauges.get(sample.name)) is not None:
                    gauge.set(sample.value)
                elif (counter := self._counters.get(sample.name)) is not None:
                    values = tuple(sample.labels.values())
                    before = self._counted.get((sample.name, values), 0.0)
                    self._counted[sample.name, values] = sample.value
                    (counter.labels(*values) if values else counter).inc(max(sample.value - before, 0.0))
