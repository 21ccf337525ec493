"""A plan as values of the charts, and these as YAML."""

from __future__ import annotations

import math
from typing import Any

from convnet_kafka.planning import GIB, Plan

# A process holds more for a moment than it asks for: garbage, a burst, a model being replaced.
MEMORY_LIMIT_FACTOR = 1.5
# Brokers that can be controllers too: these decide by majority.
BOTH_ROLES = (1, 3, 5)
# Less than this Kafka does not start well with; the rest of the memory is its page cache.
LEAST_HEAP_MIB = 512


def helm_values(found: Plan) -> dict[str, Any]:
    """The plan as values of helm/convnet-kafka."""
    wishes = found.wishes

    def scaled(replicas: tuple[int, int]) -> dict[str, Any]:
        steady = replicas[0] == replicas[1]
        mode = {"mode": "none"} if steady else {"mode": "hpa", "minReplicas": replicas[0], "maxReplicas": replicas[1]}
        return ({"replicas": replicas[0]} if steady else {}) | {"autoscaling": mode}

    def resources(memory_mib: int) -> dict[str, Any]:
        limit = math.ceil(memory_mib * MEMORY_LIMIT_FACTOR / 64) * 64
        return {"requests": {"cpu": "1", "memory": f"{memory_mib}Mi"}, "limits": {"memory": f"{limit}Mi"}}

    return {
        "classifier": scaled(found.classifiers) | {"resources": resources(found.classifier_memory_mib)},
        "server": scaled(found.servers) | {"resources": resources(found.server_memory_mib)},
        "topics": {
            "imagesPartitions": found.images_partitions,
            "labelsPartitions": found.labels_partitions,
            "replicationFactor": wishes.replication,
            "minInsyncReplicas": max(1, wishes.replication - 1),
            "imagesRetentionHours": wishes.retention_h,
            "jobLifeHours": wishes.job_life_h,
        },
    }


def kafka_values(found: Plan) -> dict[str, Any]:
    """The plan as values of helm/kafka."""
    memory = f"{found.broker_memory_mib}Mi"
    brokers = {
        "replicas": found.wishes.brokers,
        "storage": {"size": f"{max(1, math.ceil(found.disk_bytes / GIB))}Gi"},
        "resources": {"requests": {"cpu": f"{found.broker_cpu:g}", "memory": memory}, "limits": {"memory": memory}},
        "heap": f"{max(LEAST_HEAP_MIB, found.broker_memory_mib // 2)}m",
    }
    return {"brokers": brokers} | ({} if found.wishes.brokers in BOTH_ROLES else {"controllers": {"enabled": True}})


def as_yaml(values: dict[str, Any]) -> str:
    """Maps of maps, numbers and plain words as YAML; words in quotes, so that "1" stays a word."""
    return "\n".join(_lines(values, ""))


def _lines(values: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        elif isinstance(value, bool):
            lines.append(f"{indent}{key}: {str(value).lower()}")
        elif isinstance(value, str):
            lines.append(f'{indent}{key}: "{value}"')
        else:
            lines.append(f"{indent}{key}: {value:g}" if isinstance(value, float) else f"{indent}{key}: {value}")
    return lines
