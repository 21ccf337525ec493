"""Values of the ingest servers: pods, keys, and the ways that lead to them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from convnet_charts.values.base import KubernetesObject, KubernetesObjects, ObjectName, Port, Quantity, Values, Words
from convnet_charts.values.common import Autoscaling, Image, ScaledWorkload
from convnet_charts.values.settings import ServerSettingValues


class ApiKeys(Values):
    """Who may call. The chart makes a first key at installation; `convnet-kafka keys` makes more."""

    enabled: bool = True
    """Ask callers for a key. Without, everybody who reaches the Service may use it, so the chart then refuses an Ingress or HTTPRoute."""
    existing_secret: ObjectName = ""
    """Secret with a keys file that is there already (GitOps: a generated one would change at every rendering)."""
    key: str = "keys.json"
    """Where the Secret has the keys file."""


class JobSigning(Values):
    """The secret that signs job ids; shared by all servers, and kept when the release is uninstalled: without it no job id is known."""

    existing_secret: ObjectName = ""
    """Secret that is there already (GitOps)."""
    keys: Annotated[list[str], Field(min_length=1, max_length=2)] = Field(default_factory=lambda: ["job-signing"])
    """Where the Secret has it. A second one is accepted too: docs/security.md says how a key is changed without a job being forgotten."""


class Service(Values):
    """The servers' Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Its type."""
    port: Port = 80
    """Its port."""
    annotations: Words = Field(default_factory=dict)
    """For example a cloud's load balancer."""


class Server(ScaledWorkload):
    """The ingest servers."""

    image: Image = Field(default_factory=lambda: Image(repository="convnet-kafka-server"))
    """The image of its container."""
    resources: KubernetesObject = Field(
        default_factory=lambda: {"requests": {"cpu": "250m", "memory": "320Mi"}, "limits": {"memory": "768Mi"}}
    )
    """Requests and limits. Memory follows from the settings below; there is no CPU limit, which would only slow it down."""
    autoscaling: Autoscaling = Field(default_factory=Autoscaling)
    """Who decides how many there are. `keda` scales servers by CPU, and by `metrics`."""
    settings: ServerSettingValues = Field(default_factory=ServerSettingValues)
    """Settings of the service, each under its own name; README.md lists them."""
    kafka_memory_mib: Annotated[int, Field(ge=16, le=16384)] = 48
    """MiB that Kafka's buffers of one process may take."""
    spool_size: Quantity = "2Gi"
    """Disk for zip archives while they are read, and other temporary files (an emptyDir)."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged."""
    api_keys: ApiKeys = Field(default_factory=ApiKeys)
    """Who may call."""
    job_signing: JobSigning = Field(default_factory=JobSigning)
    """What signs job ids."""
    service: Service = Field(default_factory=Service)
    """How pods are reached inside of the cluster."""


class Gateway(Values):
    """A Gateway API HTTPRoute to the servers."""

    enabled: bool = False
    """Make one."""
    parent_refs: KubernetesObjects = Field(default_factory=list)
    """Gateways that it belongs to: `[{name: shared, namespace: gateways}]`."""
    hostnames: list[str] = Field(default_factory=list)
    """Names that it answers to; empty: all of the Gateway's."""
    annotations: Words = Field(default_factory=dict)
    """Further annotations."""
    request_timeout: Annotated[str, Field(pattern=r"^([0-9]+(ms|s|m|h))?$")] = ""
    """Time for a whole request, `0s` is no limit. Empty leaves it to the Gateway; streams of labels need a long one, or none."""


class Ingress(Values):
    """An Ingress to the servers."""

    enabled: bool = False
    """Make one."""
    class_name: str = ""
    """IngressClass; empty takes the cluster's default."""
    controller: Literal["other", "traefik", "f5-nginx"] = "other"
    """Whose annotations are added, so that bodies and streams pass unbuffered and unbounded."""
    host: str = ""
    """Name that it answers to; empty: all."""
    tls_secret: ObjectName = ""
    """Secret with the certificate; empty: plain HTTP."""
    annotations: Words = Field(default_factory=dict)
    """Further annotations; they win over those of `controller`."""


class Public(Values):
    """What both ways in, Gateway and Ingress, have in common."""

    page: bool = True
    """Let the web page and the API's description through, not only /v1. /metrics and the probes never are."""
    authenticated_elsewhere: bool = False
    """Something before the servers decides who may call, so they may be public with `server.apiKeys.enabled` false."""
