"""The one owner of OpenTelemetry's parts in a process: sampler, exporter, and the thread that sends spans away.

Everything is set by OpenTelemetry's own variables; what is wrong in them is told at the start. A collector that is away costs spans, never
an image: they wait in a bounded queue, and the end of the process does not wait for it longer than told.
"""

from __future__ import annotations

import os
import socket
import threading

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from convnet_kafka import __version__
from convnet_kafka.errors import SettingsError
from convnet_kafka.settings import TracingSettings
from convnet_kafka.tracing.spans import SCOPE

_PROTOCOLS = {"", "http/protobuf"}


class Tracing:
    """Makes spans, by OpenTelemetry's names (semantic conventions of HTTP and of messaging).

    Args:
        provider: whose they are; shut down by `close`.
        settings: ours.
    """

    def __init__(self, provider: TracerProvider, settings: TracingSettings) -> None:
        self._provider = provider
        self.settings = settings
        self.tracer = provider.get_tracer(SCOPE, __version__)

    @classmethod
    def from_environment(cls, component: str, settings: TracingSettings) -> Tracing:
        """As the environment says.

        Raises:
            SettingsError: it asks for an exporter that is not there.
        """
        own = {"service.version": __version__, "service.instance.id": f"{socket.gethostname()}-{os.getpid()}"}
        # What is given here would win over the environment.
        named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        resource = Resource.create(own if named else own | {"service.name": f"convnet-kafka-{component}"})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(_exporter()))
        return cls(provider, settings)

    def share(self) -> None:
        """Let libraries in this process make their spans with it, our own client among them. For commands, once."""
        trace.set_tracer_provider(self._provider)

    def close(self, within_s: float) -> None:
        """Send what is left, for so many seconds at most."""
        # The library waits for a collector that is away for half a minute and cannot be told otherwise.
        thread = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        thread.start()
        thread.join(within_s)


def _exporter() -> SpanExporter:
    name = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if name == "console":
        return ConsoleSpanExporter()
    if name != "otlp":
        raise SettingsError(f"OTEL_TRACES_EXPORTER is {name!r}: it can be otlp, console or none")
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(variable, "").strip().lower()
        if protocol not in _PROTOCOLS:
            raise SettingsError(f"{variable} is {protocol!r}: traces are sent as http/protobuf only (port 4318 of a collector)")
    return OTLPSpanExporter()
