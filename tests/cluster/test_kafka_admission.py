"""A real API server with Strimzi's definitions takes all of helm/kafka, and the manifests in k8s/. Nothing is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.charts import ROOT, Object, yaml_objects
from support.kafka_chart import CHART, EVERYTHING, security_contexts
from support.kubernetes import Namespace

K8S = ROOT / "k8s"
# What Argo CD and Flux define is theirs: kubeconform looks at those (tests/chart/test_manifests.py).
MANIFESTS = sorted(
    path for path in K8S.rglob("*.yaml") if path.parent.name not in {"values", "gitops", "rendered"} and path.name != "kustomization.yaml"
)


def objects(namespace: Namespace, values: dict[str, Any]) -> list[Object]:
    return replace(CHART, namespace=namespace.name).render({**values, "crdChecks": False}).objects


@pytest.mark.parametrize("values", [{}, {"brokers": {"replicas": 1, "storage": {"type": "ephemeral"}}}, EVERYTHING])
def test_strimzis_definitions_take_all_of_the_kafka_chart(namespace: Namespace, values: dict[str, Any]) -> None:
    done = namespace.offer(objects(namespace, values))
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


def test_the_definitions_refuse_what_is_not_in_them(namespace: Namespace) -> None:
    """So that the test above has proved something."""
    (kafka,) = (each for each in objects(namespace, {}) if each["kind"] == "Kafka")
    kafka["spec"]["kafka"]["replicas"] = 3  # as before node pools
    assert "unknown field" in namespace.offer([kafka]).stderr


def test_a_restricted_namespace_takes_pods_as_the_chart_has_strimzi_make_them(namespace: Namespace) -> None:
    pod: Object = {}
    made: list[Object] = []
    for each in security_contexts(objects(namespace, EVERYTHING)):
        if each["name"] == "pod":
            pod = {"securityContext": each["securityContext"]}
            continue
        containers = [{"name": "a", "image": "kafka:4", "securityContext": each["securityContext"]}]
        made.append(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{len(made)}"}, "spec": {**pod, "containers": containers}}
        )
    assert len(made) == 8
    done = namespace.offer(made)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.relative_to(K8S).as_posix())
def test_the_manifests_are_taken(namespace: Namespace, path: Path) -> None:
    found = yaml_objects(path.read_text())
    for each in found:
        # Their own namespaces are not there.
        if each["kind"] != "Namespace":
            each["metadata"]["namespace"] = namespace.name
    done = namespace.offer(found)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
