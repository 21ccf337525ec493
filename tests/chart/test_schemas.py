"""What `conforming` must notice, so that a chart that passes it has proved something."""

from __future__ import annotations

import pytest

from support.charts import conforming

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers:
        - name: c
          resources: {limits: {cpu: 1, memory: 1Gi}}
          ports: [{containerPort: 80}]
          readinessProbe: {httpGet: {path: /, port: http}}
"""
TOPIC = """
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata: {name: a, labels: {strimzi.io/cluster: b}}
spec: {partitions: 3, replicas: 1, config: {retention.ms: 1, cleanup.policy: compact}}
"""
SCALED = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: a}
spec:
  scaleTargetRef: {name: b}
  triggers: [{type: kafka, metadata: {topic: c}}]
"""


def test_what_the_api_server_takes_conforms() -> None:
    conforming(DEPLOYMENT, TOPIC, SCALED)


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        pytest.param(DEPLOYMENT, "readinessProbe", "readyProbe", id="an unknown key deep inside"),
        pytest.param(DEPLOYMENT, "containerPort: 80", "containerPort: http", id="a wrong type"),
        pytest.param(DEPLOYMENT, "selector: {matchLabels: {a: b}}", "replicas: 1", id="a key that must be there"),
        pytest.param(DEPLOYMENT, "metadata: {name: a}", "metadata: {name: a, label: {}}", id="an unknown key of the metadata"),
        pytest.param(TOPIC, "replicas: 1", "copies: 1", id="an unknown key of a resource of Strimzi's"),
        pytest.param(TOPIC, "/v1", "/v1beta2", id="a version that is gone"),
        pytest.param(SCALED, "metadata: {topic: c}", "topic: c", id="an unknown key of a resource of KEDA's"),
        pytest.param(SCALED, "kind: ScaledObject", "kind: ScaleObject", id="an unknown kind"),
    ],
)
def test_what_the_api_server_would_refuse_or_drop_does_not_conform(text: str, old: str, new: str) -> None:
    assert old in text
    with pytest.raises(AssertionError):
        conforming(text.replace(old, new))
