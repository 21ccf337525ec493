"""The client: sends images in many short requests and yields one outcome for each (docs/http.md is all it knows of the server)."""

from convnet_kafka.client.classification import Classification
from convnet_kafka.client.errors import (
    DeadlineExceeded,
    JobCancelled,
    JobExpired,
    JobUnknown,
    NotAllowed,
    NotAuthenticated,
    RateLimited,
    Refused,
    ServerAway,
    SourceError,
    Unavailable,
    Unreachable,
)
from convnet_kafka.client.label import Label
from convnet_kafka.client.options import ClientOptions
from convnet_kafka.client.progress import Progress
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.client.session import Client
from convnet_kafka.client.sync import SyncClassification, SyncClient, classify
from convnet_kafka.errors import ServerError

__all__ = [
    "Classification",
    "Client",
    "ClientOptions",
    "DeadlineExceeded",
    "JobCancelled",
    "JobExpired",
    "JobUnknown",
    "Label",
    "NotAllowed",
    "NotAuthenticated",
    "Progress",
    "RateLimited",
    "Refused",
    "RetryPolicy",
    "ServerAway",
    "ServerError",
    "SourceError",
    "SyncClassification",
    "SyncClient",
    "Unavailable",
    "Unreachable",
    "classify",
]
