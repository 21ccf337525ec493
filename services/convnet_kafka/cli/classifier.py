"""`convnet-kafka classifier`: run one classifier until SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import click

from convnet_kafka import logs, settings
from convnet_kafka.garbage import collect_seldom
from convnet_kafka.logs.level import LevelSwitch
from convnet_kafka.settings import ClassifierSettings, KafkaSettings, TopicSettings
from convnet_kafka.topology import Topology
from convnet_kafka.tracing import FLUSH_S, start


@click.command()
@click.option("--models", type=click.Path(path_type=Path), help="Folder of the model registry.")
@click.option("--backend", help="What predicts: litert, tensorflow, or a function of your own as module:function.")
@click.option("--threads", type=int, help="Threads of one prediction.")
@click.option("--max-batch", type=int, help="Images in one prediction at most.")
@click.option("--host", help="Address of /healthz, /readyz and /metrics.")
@click.option("--port", type=int, help="Port of /healthz, /readyz and /metrics; 0 takes a free one.")
@click.option("--bootstrap-servers", help="Addresses of brokers, host:port, comma separated.")
@click.option("--topic-prefix", help="Prefix of all topics and groups of one release.")
@click.option("--create-topics", is_flag=True, default=None, help="Create missing topics.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True)
def command(bootstrap_servers: str | None, topic_prefix: str | None, create_topics: bool | None, log_level: str, **options: Any) -> None:
    """Run one classifier of the consumer group.

    Every option has a setting behind it (CONVNET_CLASSIFIER_..., KAFKA_...). The first SIGTERM or Ctrl-C finishes what has begun,
    commits and leaves the group; a second one ends at once. SIGUSR1 has it log everything, SIGUSR2 what it logged before.
    """
    logs.configure(log_level)
    classifier_settings = settings.load(ClassifierSettings, **options)
    kafka = settings.load(KafkaSettings, bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix)
    topics = settings.load(TopicSettings, create=create_topics)
    from convnet_kafka.classifier.service import Classifier  # noqa: PLC0415 - wrong settings are told before anything slow is imported

    tracing = start("classifier")
    traces = None
    if tracing is not None:
        from convnet_kafka.tracing.batches import BatchTraces  # noqa: PLC0415 - OpenTelemetry is imported only where it is asked for

        traces = BatchTraces(tracing, Topology(kafka.topic_prefix))
    classifier = Classifier(classifier_settings, kafka, topics, traces)

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        classifier.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    LevelSwitch().follow_signals()
    collect_seldom()
    try:
        classifier.run()
    finally:
        if tracing is not None:
            tracing.close(FLUSH_S)
