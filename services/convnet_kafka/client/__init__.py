"""The client: sends images in many short requests and yields one outcome for each (docs/http.md is all it knows of the server)."""

from convnet_kafka.client.label import Label
from convnet_kafka.client.session import Classification, Client, ClientOptions
from convnet_kafka.client.sources import SourceError
from convnet_kafka.client.sync import classify

__all__ = ["Classification", "Client", "ClientOptions", "Label", "SourceError", "classify"]
