"""A second broker in a local Kafka's cluster: it copies what it is told to, and may be killed without taking the first one along."""

from __future__ import annotations

import base64
import re
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka.admin import NewTopic

from convnet_kafka.local import brokersettings
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.process import HOST, free_ports
from support.topics import admin

COPIED, ALONE = "test-copied", "test-alone"


class SecondBroker:
    """Runs while entered.

    Args:
        first: the broker whose cluster it joins; it runs.
        folder: for its data.
    """

    def __init__(self, first: LocalBroker, folder: Path) -> None:
        self._bootstrap = first.bootstrap_servers
        self._admin = admin(first.bootstrap_servers)
        (port,) = free_ports(1)
        properties = (first.data_dir / brokersettings.PROPERTIES_FILE).read_text()
        voters = re.search(r"^controller\.quorum\.voters=(.+)$", properties, re.MULTILINE)
        assert voters
        # Formatted by hand: the tool would give it a cluster of its own.
        meta = (first.data_dir / brokersettings.KAFKA_FOLDER / "meta.properties").read_text()
        directory = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        meta = re.sub(r"(?m)^node\.id=.*$", "node.id=2", re.sub(r"(?m)^directory\.id=.*$", f"directory.id={directory}", meta))
        (folder / brokersettings.KAFKA_FOLDER).mkdir(parents=True)
        (folder / brokersettings.KAFKA_FOLDER / "meta.properties").write_text(meta)
        self._broker = LocalBroker(
            folder,
            port,
            overrides={
                "process.roles": "broker",
                "node.id": "2",
                "listeners": f"BROKER://{HOST}:{port}",
                "controller.quorum.voters": voters[1],
            },
        )

    def __enter__(self) -> Self:
        self._broker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._broker.stop()

    def start(self) -> None:
        """Start it again on its data."""
        self._broker.start()

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._broker.kill()

    def create_topics(self) -> None:
        """One topic with a copy here and there, one that lies here alone."""
        topics = [NewTopic(COPIED, 1, replica_assignment=[[1, 2]]), NewTopic(ALONE, 1, replica_assignment=[[2]])]
        for future in self._admin.create_topics(topics).values():
            future.result(20)

    def delete_topics(self) -> None:
        """Remove them."""
        for future in self._admin.delete_topics([COPIED, ALONE]).values():
            future.result(20)
