"""Values of the classifiers, of the models' volume, and of the trainer that fills it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from convnet_charts.values.base import KubernetesObject, ObjectName, Quantity, Values
from convnet_charts.values.common import Autoscaling, Image, ScaledWorkload, Workload
from convnet_charts.values.settings import ClassifierSettingValues


class Lag(Values):
    """How many images may wait for each replica before KEDA adds one."""

    bulk: Annotated[int, Field(ge=1)] = 500
    """In the bulk lane: about what a replica labels in a second or two."""
    fast: Annotated[int, Field(ge=1)] = 20
    """In the fast lane, where somebody waits."""


class Keda(Values):
    """How KEDA looks at the lanes."""

    lag: Lag = Field(default_factory=Lag)
    """Images that wait, for each replica."""
    activation_lag: Annotated[int, Field(ge=0)] = 0
    """With `minReplicas` 0: images that must wait, more than this, until the first replica starts."""
    polling_interval_s: Annotated[int, Field(ge=1)] = 5
    """Seconds between looks."""
    cooldown_s: Annotated[int, Field(ge=0)] = 120
    """With `minReplicas` 0: seconds that nothing waits until the last replica ends."""
    authentication_ref: ObjectName = ""
    """TriggerAuthentication that is there already, where the chart's own cannot do it (OAUTHBEARER)."""
    fallback_replicas: Annotated[int, Field(ge=0)] | None = None
    """Replicas while KEDA gets no answer, where its scaler says so; empty: as they are."""


class ClassifierAutoscaling(Autoscaling):
    """Who decides how many classifiers there are."""

    keda: Keda = Field(default_factory=Keda)
    """With `mode: keda`."""


class Classifier(ScaledWorkload):
    """The classifiers. One uses one core: more work is for more replicas."""

    image: Image = Field(default_factory=lambda: Image(repository="convnet-kafka-classifier"))
    """The image of its container."""
    resources: KubernetesObject = Field(
        default_factory=lambda: {"requests": {"cpu": "500m", "memory": "320Mi"}, "limits": {"memory": "1Gi"}}
    )
    """Requests and limits. Give a busy one a whole core; `convnet-kafka plan` says how much memory a network takes."""
    autoscaling: ClassifierAutoscaling = Field(default_factory=ClassifierAutoscaling)
    """Who decides how many there are."""
    settings: ClassifierSettingValues = Field(default_factory=ClassifierSettingValues)
    """Settings of the service, each under its own name; README.md lists them."""
    kafka_memory_mib: Annotated[int, Field(ge=16, le=16384)] = 48
    """MiB that Kafka's buffers of one process may take."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged."""


class ModelPersistence(Values):
    """The volume of the models' registry: the trainer writes, classifiers read."""

    existing_claim: ObjectName = ""
    """PersistentVolumeClaim that is there already."""
    storage_class: str = ""
    """StorageClass of the chart's own claim; empty takes the cluster's default."""
    access_mode: Literal["", "ReadWriteMany", "ReadWriteOnce"] = ""
    """How it is shared. Empty: ReadWriteMany, and ReadWriteOnce in the trial mode."""
    size: Quantity = "5Gi"
    """Its size. A version takes 1 to 50 MB."""
    single_node: bool = False
    """All pods that use the volume run on one node, as ReadWriteOnce needs (always so in the trial mode)."""


class Model(Values):
    """The models."""

    persistence: ModelPersistence = Field(default_factory=ModelPersistence)
    """Their volume. It stays when the release is uninstalled (NOTES say how it goes)."""


class Archive(Values):
    """A tar or zip of class folders, fetched by the trainer's first container."""

    url: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = ""
    """Where it lies."""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """Its digest; another file is refused."""


class DataClaim(Values):
    """A volume with class folders."""

    name: ObjectName = ""
    """PersistentVolumeClaim that is there already; mounted read-only."""
    folder: str = ""
    """Folder of class folders on it; empty: its root."""


class TrainingData(Values):
    """What the network is trained on."""

    source: Literal["digits", "claim", "archive"] = "digits"
    """`digits`: 1,433 real handwritten digits that come along, to try things. `claim`: a volume. `archive`: a file to fetch."""
    claim: DataClaim = Field(default_factory=DataClaim)
    """With `source: claim`."""
    archive: Archive = Field(default_factory=Archive)
    """With `source: archive`."""
    size: Quantity = "10Gi"
    """Disk for unpacked archives and decoded pictures (an emptyDir)."""


class Trainer(Workload):
    """The trainer: a Job that ends at once where a stable model of the same data and settings is there."""

    enabled: bool = True
    """Train at installation, and when what is below changes."""
    image: Image = Field(default_factory=lambda: Image(repository="convnet-kafka-trainer"))
    """The image of its container."""
    resources: KubernetesObject = Field(default_factory=lambda: {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}})
    """Requests and limits."""
    data: TrainingData = Field(default_factory=TrainingData)
    """What it learns from."""
    args: list[str] = Field(default_factory=list)
    """Further options of `convnet-kafka train`, for example `[--network, efficientnet-lite0, --epochs, "20"]`."""
    schedule: str = ""
    """Train again at these times too (cron); a new version becomes stable only when it is better. Empty: never."""
    time_zone: str = ""
    """Time zone of the schedule; empty: the cluster's."""
    backoff_limit: Annotated[int, Field(ge=0)] = 4
    """How often a training that failed is tried again; it goes on after the last finished epoch."""
    active_deadline_s: Annotated[int, Field(ge=60)] | None = None
    """Seconds a training may take; empty: as long as it wants."""
