"""helm/kafka with everything switched on, and what it says of the pods that Strimzi makes."""

from __future__ import annotations

from typing import Any

from support.charts import Chart, Object

CHART = Chart("kafka", release="kafka")
EVERYTHING: dict[str, Any] = {
    "version": "4.3.1",
    "metadataVersion": "4.3-IV0",
    "controllers": {"enabled": True, "tolerations": [{"key": "kafka", "operator": "Exists"}], "antiAffinity": "hard"},
    "brokers": {
        "replicas": 6,
        "storage": {"size": "1Ti", "disks": 2, "storageClass": "fast"},
        "nodeSelector": {"disk": "local"},
        "podLabels": {"team": "vision"},
        "podAnnotations": {"a": "b"},
        "priorityClassName": "important",
    },
    "listener": {"port": 9094, "peers": [{"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "convnet-kafka"}}}]},
    "extraListeners": [{"name": "outside", "port": 9095, "type": "loadbalancer", "tls": True, "authentication": {"type": "scram-sha-512"}}],
    "superUsers": ["User:admin"],
    "config": {"log.retention.hours": 24},
    "rack": {"topologyKey": "topology.kubernetes.io/zone"},
    "imagePullSecrets": ["registry"],
    "maintenanceTimeWindows": ["* * 2-4 ? * SUN"],
    "cruiseControl": {"enabled": True},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "commonLabels": {"owner": "vision"},
}


def security_contexts(part: Any) -> list[Object]:
    """Every template that Strimzi makes a pod or a container of, with what it says of security."""
    if isinstance(part, list):
        return [found for each in part for found in security_contexts(each)]
    if not isinstance(part, dict):
        return []
    found = [(name, each) for name, each in part.get("template", {}).items() if name == "pod" or name.lower().endswith("container")]
    return [*({"name": name, **each} for name, each in found), *(each for value in part.values() for each in security_contexts(value))]
