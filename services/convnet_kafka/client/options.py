"""How a client behaves: what a caller may set, with the defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.errors import SettingsError

DEFAULT_SERVER = "http://127.0.0.1:8080"
# One request is being read from disk, one is on the line, one waits for Kafka.
DEFAULT_CONNECTIONS = 3


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How a client behaves.

    Attributes:
        connections: uploads of a job at once, 1 to 64; the stream of its labels comes on top.
        retry: how patient it is with a server that is away or busy.
        strict: end with the first source that cannot be read (SourceError); otherwise it is named as a failure and the rest is sent.
        tracing: make spans of calls and labels with the application's own OpenTelemetry (docs/tracing.md), and pass the trace on.
    """

    connections: int = DEFAULT_CONNECTIONS
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    strict: bool = False
    tracing: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.connections <= 64:
            raise SettingsError(f"connections must be 1 to 64, not {self.connections}")
