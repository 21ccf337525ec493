"""All values of the chart helm/kafka: a Kafka cluster that Strimzi runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from convnet_charts.values.base import KubernetesObject, KubernetesObjects, ObjectName, Port, Quantity, Values, Words

MIB = 1024 * 1024

_Name = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?)?$")]
_Pool = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$")]
# Strimzi 1.x runs Kafka 4.2 and newer.
_Version = Annotated[str, Field(pattern=r"^(4\.([2-9]|[1-9][0-9])(\.[0-9]+)?)?$")]
_Heap = Annotated[str, Field(pattern=r"^[0-9]+[mg]$")]


def _resources(cpu: str, memory: str) -> dict[str, Any]:
    # No limit of CPU: a broker that is throttled makes every client wait.
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}


class Storage(Values):
    """Disks of each node of a pool."""

    type: Literal["persistent-claim", "ephemeral"] = "persistent-claim"
    """`ephemeral` loses all with the pod: for trials alone."""
    size: Quantity
    """Size of each disk. It can grow later, where the StorageClass allows it; it never shrinks."""
    disks: Annotated[int, Field(ge=1, le=16)] = 1
    """Disks of each node. The first holds the metadata."""
    storage_class: str = ""
    """StorageClass; empty takes the cluster's default. One with `WaitForFirstConsumer` keeps disk and pod in one zone."""
    delete_claim: bool = False
    """Delete the disks with the cluster."""


class Pool(Values):
    """Nodes of one kind: a KafkaNodePool."""

    pool: _Pool
    """Name of the KafkaNodePool, one in a namespace; pods are named after it. Never change it."""
    replicas: Annotated[int, Field(ge=1, le=100)] = 3
    """Nodes."""
    storage: Storage
    """Disks of each node."""
    resources: KubernetesObject
    """Requests and limits. Memory beyond the heap is Kafka's page cache: what classifiers read comes from there."""
    heap: _Heap
    """Heap of the JVM, for example `2g`."""
    anti_affinity: Literal["soft", "hard", "none"] = "soft"
    """Nodes of the pool on machines of their own: where that can be, always, or as it comes."""
    node_selector: Words = Field(default_factory=dict)
    """Labels that machines must have."""
    tolerations: KubernetesObjects = Field(default_factory=list)
    """Taints that pods bear."""
    priority_class_name: ObjectName = ""
    """PriorityClass of pods."""
    pod_labels: Words = Field(default_factory=dict)
    """Further labels of pods."""
    pod_annotations: Words = Field(default_factory=dict)
    """Further annotations of pods."""


class Brokers(Pool):
    """The brokers, which are controllers too unless `controllers.enabled`."""

    pool: _Pool = "brokers"
    """Name of the KafkaNodePool, one in a namespace; pods are named after it. Never change it."""
    storage: Storage = Field(default_factory=lambda: Storage(size="100Gi"))
    """Disks of each broker. `convnet-kafka plan` says how much a rate and a retention need."""
    resources: KubernetesObject = Field(default_factory=lambda: _resources("500m", "4Gi"))
    """Requests and limits. Memory beyond the heap is Kafka's page cache: what classifiers read comes from there."""
    heap: _Heap = "2g"
    """Heap of the JVM, for example `2g`."""


class Controllers(Pool):
    """Controllers of their own: for more than five brokers, or brokers that come and go."""

    enabled: bool = False
    """Run them in a pool of their own. Decide at the start: it cannot be changed for a running cluster."""
    pool: _Pool = "controllers"
    """Name of the KafkaNodePool, one in a namespace; pods are named after it. Never change it."""
    replicas: Annotated[int, Field(ge=1, le=7)] = 3
    """Controllers, an odd number: 3 survive the loss of one, 5 of two. It cannot be changed for a running cluster."""
    storage: Storage = Field(default_factory=lambda: Storage(size="10Gi"))
    """Disks of each controller: metadata alone."""
    resources: KubernetesObject = Field(default_factory=lambda: _resources("250m", "1Gi"))
    """Requests and limits."""
    heap: _Heap = "512m"
    """Heap of the JVM, for example `512m`."""


class Listener(Values):
    """The listener for clients inside the Kubernetes cluster: TLS and SCRAM-SHA-512."""

    port: Port = 9093
    """Its port; the other chart's `kafka.strimzi.port`."""
    peers: KubernetesObjects = Field(default_factory=list)
    """Who may connect, as `from` of a NetworkPolicy has it; empty: every pod that has a user. Include KEDA's and Kafka's own tools."""


class Rack(Values):
    """Copies of a partition in different zones."""

    topology_key: str = ""
    """Label of the machines that names their zone, for example `topology.kubernetes.io/zone`. Machines without it get no broker."""


class Metrics(Values):
    """Metrics of the brokers, in Prometheus' format, from the reporter that Strimzi brings."""

    enabled: bool = True
    """Have them."""
    allow_list: list[str] = Field(
        default_factory=lambda: [
            "kafka_cluster_partition.*",
            "kafka_controller_.*",
            "kafka_log_log.*",
            "kafka_network_request.*",
            "kafka_network_socketserver.*",
            "kafka_server_.*",
            "jvm_.*",
            "process_.*",
        ]
    )
    """Regular expressions of the names that are kept."""


class Exporter(Values):
    """Kafka Exporter: lag of groups and sizes of topics."""

    enabled: bool = True
    """Run it."""
    topic_regex: str = ".*"
    """Topics that it looks at."""
    group_regex: str = ".*"
    """Groups that it looks at. Those of the new protocol (KIP-848) have no members in its eyes; their lag is right."""
    resources: KubernetesObject = Field(default_factory=lambda: _resources("20m", "64Mi"))
    """Requests and limits."""


class CruiseControl(Values):
    """Cruise Control: spreads partitions over the brokers. Strimzi's metrics reporter is none of its, so it has no metrics."""

    enabled: bool = False
    """Run it. Needs two brokers or more."""
    auto_rebalance: bool = True
    """Move partitions by itself when brokers are added, and before they are taken away."""
    resources: KubernetesObject = Field(default_factory=lambda: _resources("100m", "1Gi"))
    """Requests and limits."""


class EntityOperator(Values):
    """Strimzi's operators that look after KafkaTopics and KafkaUsers."""

    topic_resources: KubernetesObject = Field(default_factory=lambda: _resources("20m", "384Mi"))
    """Requests and limits of the one for topics."""
    user_resources: KubernetesObject = Field(default_factory=lambda: _resources("20m", "384Mi"))
    """Requests and limits of the one for users."""


class PodMonitor(Values):
    """How Prometheus finds the metrics."""

    enabled: bool = False
    """Make PodMonitors; needs the Prometheus operator."""
    labels: Words = Field(default_factory=dict)
    """Labels that the Prometheus selects by."""
    interval: Annotated[str, Field(pattern=r"^[0-9]+(ms|s|m)$")] = "15s"
    """How often it looks."""


class DisruptionBudget(Values):
    """What a drain may do, through Strimzi's own PodDisruptionBudget."""

    max_unavailable: Annotated[int, Field(ge=0)] = 1
    """Most nodes away at once. 0 leaves drains to Strimzi's Drain Cleaner."""


class KafkaCluster(Values):
    """Values of helm/kafka."""

    global_: Annotated[dict[str, Any], Field(alias="global")] = Field(default_factory=dict)
    """Not used. Allowed, so that the chart works as a part of another."""
    fullname_override: _Name = ""
    """Name of the Kafka object instead of the release's; at most 40 characters. Never change it."""
    common_labels: Words = Field(default_factory=dict)
    """Labels of all objects."""
    crd_checks: bool = True
    """Refuse to install without Strimzi's definitions. Off where Helm does not ask a cluster (`helm template`, Argo CD)."""
    keep: bool = True
    """`helm uninstall` leaves the Kafka cluster where it is (NOTES say how it goes). Off: it takes cluster and images with it."""
    version: _Version = ""
    """Version of Kafka, for example `4.3.1`; empty: the newest that the operator knows, which then changes with the operator."""
    metadata_version: str = ""
    """Version of the metadata, for example `4.3-IV0`; empty: that of `version`. Held back while `version` goes on it keeps a way back."""
    brokers: Brokers = Field(default_factory=Brokers)
    """The brokers."""
    controllers: Controllers = Field(default_factory=Controllers)
    """Controllers of their own."""
    listener: Listener = Field(default_factory=Listener)
    """The listener for clients in the cluster."""
    extra_listeners: KubernetesObjects = Field(default_factory=list)
    """Further listeners, as Strimzi has them: for clients outside the cluster, for example."""
    super_users: list[str] = Field(default_factory=list)
    """Users whom no ACL binds, for example `User:admin`."""
    max_image_bytes: Annotated[int, Field(ge=1024, le=256 * MIB)] = 10 * MIB
    """The largest image of any release on this cluster, in bytes: brokers take records of that size and 2 MiB more."""
    config: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Further settings of the brokers; they win over the chart's."""
    rack: Rack = Field(default_factory=Rack)
    """Copies in different zones."""
    disruption_budget: DisruptionBudget = Field(default_factory=DisruptionBudget)
    """What a drain may do."""
    image_pull_secrets: list[ObjectName] = Field(default_factory=list)
    """Names of Secrets of type kubernetes.io/dockerconfigjson."""
    maintenance_time_windows: list[str] = Field(default_factory=list)
    """When certificates may be renewed, which restarts brokers one by one, as cron expressions; empty: at any time."""
    entity_operator: EntityOperator = Field(default_factory=EntityOperator)
    """The operators for topics and users."""
    metrics: Metrics = Field(default_factory=Metrics)
    """Metrics of the brokers."""
    exporter: Exporter = Field(default_factory=Exporter)
    """Lag of groups and sizes of topics."""
    cruise_control: CruiseControl = Field(default_factory=CruiseControl)
    """Spreads partitions over the brokers."""
    pod_monitor: PodMonitor = Field(default_factory=PodMonitor)
    """How Prometheus finds the metrics."""
