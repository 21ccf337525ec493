"""All values of the chart helm/convnet-kafka."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from convnet_charts.values.base import Values, Words
from convnet_charts.values.classifier import Classifier, Model, Trainer
from convnet_charts.values.client import Client, Test, Tools
from convnet_charts.values.cluster import Monitoring, NetworkPolicy, Tracing
from convnet_charts.values.common import Images, PodSecurity
from convnet_charts.values.kafka import Kafka, Topics
from convnet_charts.values.server import Gateway, Ingress, Public, Server

_Name = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?)?$")]


class ConvnetKafka(Values):
    """Values of helm/convnet-kafka."""

    global_: Annotated[dict[str, Any], Field(alias="global")] = Field(default_factory=dict)
    """Not used. Allowed, so that the chart works as a part of another."""
    fullname_override: _Name = ""
    """Name of all objects instead of the release's; at most 40 characters."""
    common_labels: Words = Field(default_factory=dict)
    """Labels of all objects."""
    crd_checks: bool = True
    """Refuse objects whose kind the cluster does not know. Off where Helm does not ask a cluster (`helm template`, Argo CD)."""
    images: Images = Field(default_factory=Images)
    """What all images have in common."""
    pod_security: PodSecurity = Field(default_factory=PodSecurity)
    """Who processes are."""
    kafka: Kafka = Field(default_factory=Kafka)
    """Which Kafka: exactly one of `bootstrapServers`, `strimzi.cluster` and `embedded.enabled`."""
    topics: Topics = Field(default_factory=Topics)
    """The release's topics."""
    server: Server = Field(default_factory=Server)
    """The ingest servers."""
    classifier: Classifier = Field(default_factory=Classifier)
    """The classifiers."""
    model: Model = Field(default_factory=Model)
    """The models."""
    trainer: Trainer = Field(default_factory=Trainer)
    """The trainer."""
    client: Client = Field(default_factory=Client)
    """A Job that sends pictures and prints its report."""
    tools: Tools = Field(default_factory=Tools)
    """A pod for `kubectl exec`."""
    public: Public = Field(default_factory=Public)
    """What both ways in from outside have in common."""
    gateway: Gateway = Field(default_factory=Gateway)
    """The way in through the Gateway API."""
    ingress: Ingress = Field(default_factory=Ingress)
    """The way in through an Ingress."""
    network_policy: NetworkPolicy = Field(default_factory=NetworkPolicy)
    """Who may talk to whom."""
    monitoring: Monitoring = Field(default_factory=Monitoring)
    """What Prometheus and Grafana get."""
    tracing: Tracing = Field(default_factory=Tracing)
    """Traces of single images."""
    test: Test = Field(default_factory=Test)
    """What `helm test` does."""
