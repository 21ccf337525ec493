"""Values of typical releases, which several tests render."""

from __future__ import annotations

from typing import Any

from support.charts import Chart

CHART = Chart("convnet-kafka")
Values = dict[str, Any]

TRIAL: Values = {"kafka": {"embedded": {"enabled": True}}}
STRIMZI: Values = {"kafka": {"strimzi": {"cluster": "main"}}}
EXTERNAL: Values = {
    "kafka": {
        "bootstrapServers": "kafka-1.example.org:9093,kafka-2.example.org:9094",
        "securityProtocol": "SASL_SSL",
        "saslMechanism": "SCRAM-SHA-512",
        "ca": {"secret": "kafka-ca"},
        "users": {"server": {"secret": "kafka-server"}, "classifier": {"secret": "kafka-classifier"}, "keda": {"secret": "kafka-keda"}},
    }
}
CONTROLLER = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "traefik"}}}]
# Every optional object at once.
EVERYTHING: Values = {
    "kafka": {"strimzi": {"cluster": "main"}},
    "server": {"autoscaling": {"mode": "hpa", "minReplicas": 2, "maxReplicas": 6}},
    "classifier": {"autoscaling": {"mode": "keda", "minReplicas": 0, "maxReplicas": 12}},
    "trainer": {"schedule": "0 3 * * 0", "data": {"source": "archive", "archive": {"url": "https://example.org/pictures.tar.gz"}}},
    "client": {"enabled": True, "pictures": {"source": "claim", "name": "pictures"}},
    "tools": {"enabled": True},
    "tracing": {"endpoint": "http://collector.observability.svc:4318"},
    "gateway": {"enabled": True, "parentRefs": [{"name": "shared", "namespace": "gateways"}]},
    "ingress": {"enabled": True, "className": "traefik", "controller": "traefik", "host": "vision.example.org", "tlsSecret": "vision-tls"},
    "networkPolicy": {"ingressFrom": CONTROLLER},
    "monitoring": {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}},
}


def over(base: Values, **changes: Any) -> Values:
    """A copy with changes; a name may be a path with `__` between its keys: `classifier__replicas=3`."""
    found = _copy(base)
    for path, value in changes.items():
        place = found
        *parents, last = path.split("__")
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = value
    return found


def _copy(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _copy(value) for key, value in values.items()}
    return [_copy(value) for value in values] if isinstance(values, list) else values


def env(container: dict[str, Any]) -> dict[str, Any]:
    """Name -> value, or where it comes from, of a container's environment."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", [])}


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    """The spec of the pods of a Deployment, StatefulSet, Job, CronJob, or Pod."""
    if workload["kind"] == "Pod":
        return workload["spec"]
    if workload["kind"] == "CronJob":
        return workload["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return workload["spec"]["template"]["spec"]


def container(workload: dict[str, Any]) -> dict[str, Any]:
    """Its only container."""
    (found,) = pod(workload)["containers"]
    return found
