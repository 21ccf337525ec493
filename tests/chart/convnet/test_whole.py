"""The chart as a whole: what it renders is what Kubernetes takes, and every pod is as strict as the strictest namespace asks."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from support.charts import Chart, Object, Rendered, conforming
from support.convnet_chart import CHART, EVERYTHING, EXTERNAL, STRIMZI, TRIAL, Values, over, pod

EXAMPLES = {
    "trial": TRIAL,
    "strimzi": STRIMZI,
    "external": EXTERNAL,
    "everything": EVERYTHING,
    "server-keda": over(EXTERNAL, server__autoscaling={"mode": "keda"}, classifier__autoscaling={"mode": "keda"}),
}
WORKLOADS = {"Deployment", "StatefulSet", "Job", "CronJob", "Pod"}


@pytest.fixture(scope="module")
def rendered() -> dict[str, Rendered]:
    return {name: CHART.render(values) for name, values in EXAMPLES.items()}


def test_every_object_conforms_to_its_schema(rendered: dict[str, Rendered]) -> None:
    conforming(*(each.text for each in rendered.values()))


def test_everything_has_every_kind_that_the_chart_can_make(rendered: dict[str, Rendered]) -> None:
    made = set().union(*(each.kinds() for each in rendered.values()))
    assert made >= {
        "ConfigMap", "CronJob", "Deployment", "HTTPRoute", "HorizontalPodAutoscaler", "Ingress", "Job", "KafkaTopic", "KafkaUser",
        "NetworkPolicy", "PersistentVolumeClaim", "Pod", "PodDisruptionBudget", "PodMonitor", "ScaledObject", "Secret", "Service",
        "ServiceAccount", "StatefulSet", "TriggerAuthentication",
    }  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_two_objects_share_a_name(rendered: dict[str, Rendered], name: str) -> None:
    assert len(rendered[name].names()) == len(rendered[name].objects)


@pytest.mark.parametrize("name", EXAMPLES)
def test_helm_lints_it(name: str) -> None:
    CHART.lint(over(EXAMPLES[name], crdChecks=False))


def test_helm_3_renders_the_same(rendered: dict[str, Rendered]) -> None:
    def plain(objects: list[Object]) -> list[Object]:
        # Secrets are random, and each Helm sorts kinds that it does not know in its own way.
        return sorted((each for each in objects if each["kind"] != "Secret"), key=lambda each: (each["kind"], each["metadata"]["name"]))

    helm3 = Chart("convnet-kafka", program="helm3").render(EVERYTHING)
    assert plain(helm3.objects) == plain(rendered["everything"].objects)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_pod_passes_the_restricted_pod_security_standard(rendered: dict[str, Rendered], name: str) -> None:
    workloads = [each for each in rendered[name].objects if each["kind"] in WORKLOADS]
    assert len(workloads) >= 4
    for workload in workloads:
        spec = pod(workload)
        what = f"{workload['kind']}/{workload['metadata']['name']}"
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, what
        assert security["runAsUser"] > 0, what
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, what
        assert spec["automountServiceAccountToken"] is False, what
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), what
        assert {next(key for key in volume if key != "name") for volume in spec["volumes"]} <= {
            "emptyDir", "secret", "configMap", "persistentVolumeClaim",
        }, what  # fmt: skip
        for container in chain(spec["containers"], spec.get("initContainers", [])):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "privileged": False,
                "capabilities": {"drop": ["ALL"]},
            }, what
            assert container["resources"]["limits"]["memory"], what
            assert container["resources"]["requests"]["cpu"], what
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"], what


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_pod_is_of_one_part_and_only_its_own_selectors_find_it(rendered: dict[str, Rendered], name: str) -> None:
    def labels(workload: Object) -> dict[str, str]:
        inner: dict[str, Any] = workload["spec"].get("jobTemplate", workload).get("spec", {}).get("template", workload)
        return inner["metadata"]["labels"]

    pods = {labels(each)["app.kubernetes.io/component"]: labels(each) for each in rendered[name].objects if each["kind"] in WORKLOADS}
    for kind in ("Service", "PodDisruptionBudget", "PodMonitor"):
        for each in rendered[name].all(kind):
            selector = each["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            found = [component for component, has in pods.items() if wanted.items() <= has.items()]
            assert found == [each["metadata"]["labels"]["app.kubernetes.io/component"]], each["metadata"]["name"]


def test_an_upgrade_of_the_chart_alone_restarts_no_pod() -> None:
    """Labels of pods hold no version; the image's tag is what starts new ones."""
    for kind in ("Deployment", "StatefulSet"):
        for workload in CHART.render(TRIAL).all(kind):
            assert not [name for name in workload["spec"]["template"]["metadata"]["labels"] if "version" in name or "chart" in name]


def test_common_labels_are_on_every_object_and_pod() -> None:
    found = CHART.render(over(EVERYTHING, commonLabels={"team": "vision"}))
    assert {each["metadata"]["name"] for each in found.objects if each["metadata"]["labels"].get("team") != "vision"} == set()
    assert found.one("Deployment", "convnet-server")["spec"]["template"]["metadata"]["labels"]["team"] == "vision"


IMAGES: list[tuple[Values, str]] = [
    ({}, "convnet-kafka-server:0.1.0"),
    ({"images": {"tag": "7"}}, "convnet-kafka-server:7"),
    ({"images": {"tag": "7", "registry": "registry.example.org/vision/"}}, "registry.example.org/vision/convnet-kafka-server:7"),
    ({"images": {"tag": "7"}, "server": {"image": {"tag": "8"}}}, "convnet-kafka-server:8"),
    ({"server": {"image": {"tag": "8", "digest": f"sha256:{'a' * 64}"}}}, f"convnet-kafka-server@sha256:{'a' * 64}"),
]


@pytest.mark.parametrize(("values", "image"), IMAGES)
def test_images_are_found_where_the_values_say(values: Values, image: str) -> None:
    found = CHART.render(over(TRIAL, **values))
    assert pod(found.one("Deployment", "convnet-server"))["containers"][0]["image"] == image


def test_a_release_with_another_name_shares_no_object_with_this_one() -> None:
    other = Chart("convnet-kafka", release="other")
    assert not CHART.render(EVERYTHING).names() & other.render(EVERYTHING).names()
