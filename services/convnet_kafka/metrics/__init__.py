"""Every metric of every service, named once, with what it means and what to do about it; docs/metrics.md is made from here.

`server.py`, `classifier.py` and `kafka_client.py` hold the names; the rest makes and shows them. Imports nothing of the services.
"""

from convnet_kafka.metrics.classifier import ClassifierMetrics
from convnet_kafka.metrics.exposition import MULTIPROCESS_FOLDER, exposition, process_registry
from convnet_kafka.metrics.kafka_client import KafkaClientMetrics
from convnet_kafka.metrics.server import ServerMetrics

__all__ = ["MULTIPROCESS_FOLDER", "ClassifierMetrics", "KafkaClientMetrics", "ServerMetrics", "exposition", "process_registry"]
