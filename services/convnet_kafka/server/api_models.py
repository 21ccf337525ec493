"""What the HTTP API takes and answers, as pydantic models: `/openapi.json` is made from them.

Handlers that answer once make these models; those that pass on millions of stored results write the same JSON without them, and tests
hold their answers to these models. Within a version of the API fields are only added.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from convnet_kafka.messages import FailureCode, Lane
from convnet_kafka.server.outcome import RefusalCode

# More than any cluster holds, and small enough for every JSON reader.
MAX_TOTAL = 10**15
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[int, Field(ge=0, description="milliseconds since the epoch")]
JobId = Annotated[str, Field(description="a capability: who has it may write to and read from the job")]
ImageId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="the same name and bytes within a job always give the same id")]
Cursor = Annotated[str, Field(pattern="^[0-9]+$", description="where to go on reading; opaque")]

AliasName = Literal["stable", "canary", "shadow"]


class ApiModel(BaseModel):
    """Shared by all: strict about types, and nobody changes one."""

    model_config = ConfigDict(frozen=True, strict=True)


class ProblemDocument(ApiModel):
    """RFC 9457. Further members depend on the kind: `code`, `accepted`, `refused`, `unknown`, `at_byte`."""

    type: str = Field(pattern="^/problems/[a-z-]+$", description="stable: branch on it")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="what happened to this request, and what to do")
    code: RefusalCode | None = Field(default=None, description="why a single image was refused")
    accepted: Count | None = Field(default=None, description="images of the request that Kafka holds")
    refused: Count | None = None
    unknown: Count | None = None
    at_byte: Count | None = Field(default=None, description="where an archive is damaged")


class OpenedJob(ApiModel):
    """A new job."""

    job: JobId
    expires_at_ms: Milliseconds
    lane: Lane = Field(description="where its images wait")


class JobShown(ApiModel):
    """A job's state and counts."""

    state: Literal["open", "closed", "cancelled"]
    total: Count | None = Field(description="images of the job; null until it is closed")
    labelled: Count = Field(description="images whose latest result is a label")
    failed: Count = Field(description="images whose latest result is a failure")
    complete: bool = Field(description="`total` images have their results")
    opened_at_ms: Milliseconds
    expires_at_ms: Milliseconds
    lane: Lane


class CloseRequest(ApiModel):
    """How many images a job has."""

    images: int = Field(ge=0, le=MAX_TOTAL, description="the largest number ever said wins")


class ImageProblem(ApiModel):
    """An image of an upload that was not accepted."""

    name: str
    status: Literal["refused", "unknown"] = Field(description="`refused` is final; what is `unknown` is to be sent again")
    code: RefusalCode | Literal["not-acknowledged"]
    detail: str


class UploadAnswer(ApiModel):
    """What became of the images of one request. Kafka holds every image that is counted as accepted, with all in-sync replicas."""

    accepted: Count
    refused: Count
    unknown: Count
    problems: list[ImageProblem]
    image: ImageId | None = Field(default=None, description="of a body that is one image")


class LabelShown(ApiModel):
    """One result: `label` and `confidence`, or `error` and `detail`."""

    cursor: Cursor
    image: ImageId
    name: str
    revision: Count = Field(description="0, or more after replays; the highest counts")
    label: str | None = None
    confidence: Share | None = None
    error: FailureCode | None = None
    detail: str | None = None
    model: Count | None = Field(description="version of the model; null when none was asked")
    lane: Lane
    submitted_at_ms: Milliseconds
    labelled_at_ms: Milliseconds
    instead_of: Count | None = Field(default=None, description="version of a canary that failed on this image")
    top: list[tuple[str, Share]] | None = Field(default=None, description="most probable classes, best first; where set, or `uncertain`")
    traceparent: str | None = Field(default=None, description="W3C trace context, where the image was traced")


class LabelsPage(ApiModel):
    """Results, and where to go on."""

    labels: list[LabelShown]
    cursor: Cursor | None = Field(description="for `?cursor=` of the next call; null while there is nothing")
    total: Count | None
    complete: bool


class ClassifyAnswer(ApiModel):
    """Labels of the images that were sent, and the job to read those from that are still missing."""

    job: JobId
    labels: list[LabelShown]
    missing: list[str] = Field(description="names of images not labelled in time")
    problems: list[ImageProblem]


class ModelShown(ApiModel):
    """One version in the model registry."""

    version: Count
    aliases: list[AliasName]
    accuracy: dict[str, float] = Field(description="by artefact, on its held-out images")
    served: str = Field(description="the artefact that is served")
    classes: list[str]
    height: Count
    width: Count
    channels: Count
    network: str
    created_at_ms: Milliseconds


class ModelsShown(ApiModel):
    """Every version that the classifiers have told of, and which of them classify."""

    stable: int | None
    canary: int | None
    canary_percent: Count
    shadow: int | None
    models: list[ModelShown]


class Alive(ApiModel):
    """The event loop answers."""

    alive: Literal[True]


class Ready(ApiModel):
    """Whether this process takes uploads and tells labels."""

    ready: bool
    reasons: list[str]
