"""What one ingest server is told: three groups of settings, and the keys that sign job ids."""

from __future__ import annotations

from dataclasses import dataclass

from convnet_kafka.errors import SettingsError
from convnet_kafka.server.jobs import MIN_KEY_BYTES
from convnet_kafka.settings import KafkaSettings, ServerSettings, TopicSettings

HOUR_MS = 3_600_000
_HOW_TO = "make one with: head -c 48 /dev/urandom | base64 > FILE"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """All settings of one server.

    Attributes:
        kafka: how to reach Kafka.
        topics: what the topics must be like.
        server: the HTTP side.
    """

    kafka: KafkaSettings
    topics: TopicSettings
    server: ServerSettings

    @property
    def job_life_ms(self) -> int:
        """Milliseconds a job lives."""
        return int(self.topics.job_life_hours * HOUR_MS)


def signing_keys(settings: ServerSettings) -> list[bytes]:
    """The secrets that sign job ids, the signing one first.

    Raises:
        SettingsError: there is none, or one cannot be read or is too short.
    """
    if not settings.signing_key_files:
        raise SettingsError(
            "no key to sign job ids with: set CONVNET_SERVER_SIGNING_KEY_FILES or --signing-key-file to a file that all servers of this "
            f"release share; {_HOW_TO}"
        )
    keys = []
    for path in settings.signing_key_files:
        try:
            key = path.read_bytes().strip()
        except OSError as error:
            raise SettingsError(f"the signing key {path} cannot be read: {error.strerror}; {_HOW_TO}") from error
        if len(key) < MIN_KEY_BYTES:
            raise SettingsError(f"the signing key {path} has {len(key)} bytes, {MIN_KEY_BYTES} or more are needed; {_HOW_TO}")
        keys.append(key)
    return keys
