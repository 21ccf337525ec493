"""A real API server takes every object of the chart, and a namespace that enforces `restricted` takes every pod. Nothing is made."""

from __future__ import annotations

import json

import pytest

from support.charts import Chart, Object, Rendered
from support.convnet_chart import EVERYTHING, EXTERNAL, STRIMZI, TRIAL, over, pod
from support.kubernetes import Namespace
from support.tools import missing

EXAMPLES = {
    "trial": TRIAL,
    "strimzi": STRIMZI,
    "external": over(EXTERNAL, server__autoscaling={"mode": "keda"}, classifier__autoscaling={"mode": "keda"}),
    "everything": EVERYTHING,
}
WORKLOADS = {"Deployment", "StatefulSet", "Job", "CronJob", "Pod"}


def rendered(namespace: Namespace, name: str) -> Rendered:
    return Chart("convnet-kafka", namespace=namespace.name).render({**EXAMPLES[name], "crdChecks": False})


def as_pod(workload: Object, name: str) -> Object:
    """A pod of a workload, on its own."""
    claims = workload["spec"].get("volumeClaimTemplates", [])
    # The account's own admission would refuse what is not there yet; it is none of what is asked here.
    spec = json.loads(json.dumps(pod(workload))) | {"serviceAccountName": "default"}
    spec["volumes"] += [{"name": each["metadata"]["name"], "emptyDir": {}} for each in claims]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def known(namespace: Namespace) -> set[str]:
    return {line.split()[-1] for line in namespace.kubectl("api-resources", "--no-headers").splitlines()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_api_server_takes_every_object_without_a_warning(namespace: Namespace, name: str) -> None:
    objects = rendered(namespace, name).objects
    unknown = {each["kind"] for each in objects} - known(namespace)
    done = namespace.offer([each for each in objects if each["kind"] not in unknown])
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    if unknown:
        missing(f"all others are taken, but this cluster does not know {', '.join(sorted(unknown))}")


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_restricted_namespace_takes_every_pod(namespace: Namespace, name: str) -> None:
    workloads = [each for each in rendered(namespace, name).objects if each["kind"] in WORKLOADS]
    pods = [as_pod(each, f"pod-{number}") for number, each in enumerate(workloads)]
    assert len(pods) >= 4
    done = namespace.offer(pods)
    assert done.returncode == 0, done.stderr
    privileged = as_pod(workloads[0], "privileged")
    privileged["spec"]["containers"][0]["securityContext"]["capabilities"] = {"add": ["NET_ADMIN"]}
    assert "violates PodSecurity" in namespace.offer([privileged]).stderr
