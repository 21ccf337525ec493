"""Values that several parts of the chart have: images, where and how pods run, autoscaling, disruption budgets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from convnet_charts.values.base import KubernetesObject, KubernetesObjects, ObjectName, Values, Words


class Images(Values):
    """What all images have in common."""

    registry: str = ""
    """Registry, and folder in it, before every repository: `registry.example.org/vision`."""
    tag: str = ""
    """Tag of every image that has none of its own; empty takes the chart's appVersion."""
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When the kubelet pulls."""
    pull_secrets: list[ObjectName] = Field(default_factory=list)
    """Names of Secrets of type kubernetes.io/dockerconfigjson."""


class Image(Values):
    """One image."""

    repository: str
    """Repository, below `images.registry` where one is set."""
    tag: str = ""
    """Tag; empty takes `images.tag`."""
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """`sha256:...`, wins over the tag."""


class PodSecurity(Values):
    """Who processes are. All else is as the `restricted` Pod Security Standard wants it, and not to be chosen."""

    run_as_user: Annotated[int, Field(ge=1)] | None = 10001
    """User of all processes, and group of their volumes. Empty, where the namespace assigns them (OpenShift)."""


class ServiceAccount(Values):
    """The identity of a part's pods. No pod gets a token: none asks the API server for anything."""

    create: bool = True
    """Make one; otherwise `name`, or the namespace's default."""
    name: ObjectName = ""
    """Another name than the chart's."""
    annotations: Words = Field(default_factory=dict)
    """For example a cloud's identity, where the data of a trainer lies in its store."""


class Workload(Values):
    """How a part's pods run."""

    image: Image
    """The image of its container."""
    resources: KubernetesObject = Field(default_factory=dict)
    """Requests and limits."""
    extra_env: KubernetesObjects = Field(default_factory=list)
    """Further environment variables, as Kubernetes has them; they win over the chart's."""
    pod_labels: Words = Field(default_factory=dict)
    """Further labels of pods."""
    pod_annotations: Words = Field(default_factory=dict)
    """Further annotations of pods."""
    node_selector: Words = Field(default_factory=dict)
    """Labels that nodes must have."""
    tolerations: KubernetesObjects = Field(default_factory=list)
    """Taints that pods bear."""
    affinity: KubernetesObject = Field(default_factory=dict)
    """Affinity, as Kubernetes has it; wins over what the chart makes of `antiAffinity` and `model.persistence.singleNode`."""
    priority_class_name: ObjectName = ""
    """PriorityClass of pods."""
    service_account: ServiceAccount = Field(default_factory=ServiceAccount)
    """Their identity."""


class DisruptionBudget(Values):
    """How many pods a drain may take away at once."""

    enabled: bool = True
    """Make one."""
    max_unavailable: Annotated[int, Field(ge=0)] | str | None = 1
    """Most pods away at once, a number or a percentage. Not used when `minAvailable` is set."""
    min_available: Annotated[int, Field(ge=0)] | str | None = None
    """Least pods there at any time, a number below the least replicas, or a percentage."""


def _behavior(up_pods: int, up_s: int, settle_s: int, down_pods: int, down_s: int) -> dict[str, Any]:
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Pods", "value": up_pods, "periodSeconds": up_s},
                {"type": "Percent", "value": 100, "periodSeconds": up_s},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": settle_s,
            "policies": [{"type": "Pods", "value": down_pods, "periodSeconds": down_s}],
        },
    }


class Autoscaling(Values):
    """Who decides how many replicas there are."""

    mode: Literal["none", "hpa", "keda"] = "none"
    """`none`: you do (`kubectl scale`, or `replicas`). `hpa`: Kubernetes, by CPU. `keda`: KEDA, by what waits in Kafka."""
    min_replicas: Annotated[int, Field(ge=0)] = 1
    """Least replicas. 0, for classifiers with `keda`, scales to zero when nothing waits."""
    max_replicas: Annotated[int, Field(ge=1)] = 4
    """Most replicas. More classifiers than `topics.imagesPartitions` would have nothing to do."""
    cpu_utilization: Annotated[int, Field(ge=1, le=1000)] | None = 70
    """Percent of the requested CPU that replicas should use on average (`hpa`, and `keda` for servers); empty: CPU does not count."""
    metrics: KubernetesObjects = Field(default_factory=list)
    """Further metrics of an HPA (autoscaling/v2), or further triggers of a ScaledObject, as they have them."""
    behavior: KubernetesObject = Field(default_factory=lambda: _behavior(4, 15, 300, 1, 60))
    """How fast replicas come and go (autoscaling/v2): up at once, by doubling; down one a minute after five quiet minutes."""


class ScaledWorkload(Workload):
    """A part whose number of pods may change."""

    replicas: Annotated[int, Field(ge=0)] | None = None
    """Number of pods. Empty: one at first, then what `kubectl scale` says, also over upgrades. A number wins at every upgrade."""
    anti_affinity: Literal["soft", "hard", "none"] = "soft"
    """Pods on nodes of their own: where that can be, always, or as it comes."""
    topology_spread: Literal["soft", "hard", "none"] = "soft"
    """Pods evenly over zones: where that can be, always, or as it comes."""
    disruption_budget: DisruptionBudget = Field(default_factory=DisruptionBudget)
    """What a drain may do."""
