"""Values of the client Job, of the pod with tools, and of `helm test`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from convnet_charts.values.base import KubernetesObject, ObjectName, Values
from convnet_charts.values.common import Image, Workload


class Pictures(Values):
    """Where the pictures are that the client sends."""

    source: Literal["claim", "configMap", "image"] = "claim"
    """`claim`: a volume. `configMap`: a ConfigMap with binaryData. `image`: a folder of the client's own image."""
    name: ObjectName = ""
    """Name of the PersistentVolumeClaim or the ConfigMap."""
    folder: str = ""
    """Folder in it; empty: its root."""


class Client(Workload):
    """A Job that sends a folder of pictures, waits for all labels and prints its report."""

    enabled: bool = False
    """Make one. Its name ends in a hash of what it does, so that a change makes a new one."""
    image: Image = Field(default_factory=lambda: Image(repository="convnet-kafka-client"))
    """The image of its container."""
    resources: KubernetesObject = Field(
        default_factory=lambda: {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
    )
    """Requests and limits."""
    pictures: Pictures = Field(default_factory=Pictures)
    """What it sends."""
    server_url: str = ""
    """Where to: the address of an ingress, for example; empty: the release's own Service."""
    api_key_secret: ObjectName = ""
    """Secret with the key under `api-key`; empty: the one that the chart made."""
    args: list[str] = Field(default_factory=list)
    """Further options of `convnet-kafka classify`."""
    ttl_s: Annotated[int, Field(ge=0)] = 86400
    """Seconds that the ended Job and its log are kept."""


class Tools(Workload):
    """A pod for `kubectl exec`: `convnet-kafka models`, `topics`, `dlq`, `doctor`, `top`, `status`, ..., set up for this release."""

    enabled: bool = False
    """Have one. Whoever may `exec` into it may do all that these commands do."""
    image: Image = Field(default_factory=lambda: Image(repository="convnet-kafka-classifier"))
    """The image of its container: one that has all commands but training."""
    resources: KubernetesObject = Field(default_factory=lambda: {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}})
    """Requests and limits."""


class Test(Values):
    """`helm test`: sends handwritten digits to the Service and checks what comes back."""

    enabled: bool = True
    """Have one."""
    expect: Literal["auto", "digits", "any"] = "auto"
    """`digits`: labels are the right digits, three of four at least. `any`: each picture has a label. `auto`: by `trainer.data.source`."""
    deadline_s: Annotated[int, Field(ge=10)] = 120
    """Seconds it may take."""
