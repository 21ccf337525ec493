"""convnet-kafka: everything that talks. HTTP in, Kafka in the middle, one result for every accepted image."""

from __future__ import annotations

__version__ = "0.1.0"
