"""Settings on their way from the parent to a server process: plain JSON on a pipe, secrets included, and nowhere else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from convnet_kafka.server.config import ServerConfig
from convnet_kafka.settings import KafkaSettings, ServerSettings, TopicSettings


@dataclass(frozen=True, slots=True)
class LogConfig:
    """How to log.

    Attributes:
        level: as in `logs.configure`.
        json: as in `logs.configure`.
    """

    level: str = "info"
    json: bool | None = None


def dump(config: ServerConfig, logs: LogConfig) -> dict[str, Any]:
    """Everything a server process must know."""
    kafka = config.kafka.model_dump(mode="json")
    if config.kafka.sasl_password is not None:
        kafka["sasl_password"] = config.kafka.sasl_password.get_secret_value()
    return {
        "kafka": kafka,
        "topics": config.topics.model_dump(mode="json"),
        "server": config.server.model_dump(mode="json"),
        "logs": asdict(logs),
    }


def load(value: dict[str, Any]) -> tuple[ServerConfig, LogConfig]:
    """What `dump` gave."""
    config = ServerConfig(KafkaSettings(**value["kafka"]), TopicSettings(**value["topics"]), ServerSettings(**value["server"]))
    return config, LogConfig(**value["logs"])
