"""The typed errors of everything that talks. A message says what happened, to what, and what to do next."""

from __future__ import annotations


class ConvnetKafkaError(Exception):
    """Base of every error this package raises on purpose. Commands print its message and exit with `exit_code`."""

    exit_code = 1


class SettingsError(ConvnetKafkaError):
    """A setting is missing, malformed, or does not fit another one."""

    exit_code = 2


class KafkaUnavailable(ConvnetKafkaError):
    """Kafka did not answer in time. Nothing is known to be lost; trying again later is right."""


class TopicMismatch(ConvnetKafkaError):
    """A topic is missing or its settings would lose, refuse or hide images."""


class WireError(ConvnetKafkaError):
    """A record does not follow docs/wire.md."""


class NewerWireVersion(WireError):
    """A record was written by a newer version of this software: stop unready, upgrade, and read it again."""


class LocalStackError(ConvnetKafkaError):
    """Something this machine should offer (Java, a port, a folder, a process) is missing or failed."""


class ServerError(ConvnetKafkaError):
    """The ingest server refused or could not be reached; carries the problem+json `type` slug when there was one."""

    exit_code = 3

    def __init__(self, message: str, *, status: int | None = None, slug: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.slug = slug
        self.retry_after_s = retry_after_s
