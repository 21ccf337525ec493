"""Results written straight into the labels topic, as docs/wire.md says, without an image or a classifier."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from confluent_kafka import Producer

# Of a job's id: version, random part, opened at, partition.
_HEAD = struct.Struct(">B16sQI")


def job_in(path: str) -> tuple[str, int]:
    """The random part and the partition of the job of a path such as `/v1/jobs/{id}`."""
    token = path.rpartition("/")[2]
    _, random, _, partition = _HEAD.unpack_from(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return random.hex(), partition


def result(number: int, *, confidence: float = 0.75, error: str | None = None, revision: int = 0) -> dict[str, Any]:
    """A label, or a failure."""
    found: dict[str, Any] = {"image": f"{number:032x}", "name": f"{number}.png", "revision": revision}
    found |= {"label": "seven", "confidence": confidence} if error is None else {"error": error, "detail": "it is broken"}
    return found | {"model": 3, "lane": "bulk", "submitted_at_ms": 1, "labelled_at_ms": 2}


class LabelLog:
    """Writes results of jobs.

    Args:
        bootstrap_servers: of Kafka.
        prefix: of the topics.
    """

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 1})
        self._topic = f"{prefix}.labels"

    def write(self, path: str, results: Iterable[dict[str, Any]], together: int = 1) -> None:
        """Results of the job of a path, in records of so many; returns when Kafka has them."""
        for (revision, failed), group in groupby(results, lambda each: (each["revision"], "error" in each)):
            alike = list(group)
            for start in range(0, len(alike), together):
                some = alike[start : start + together]
                value = "\n".join(json.dumps(each) for each in some).encode()
                self.write_raw(path, "".join(each["image"] for each in some), value, revision=revision, failed=failed)
        self.flush()

    def write_raw(self, path: str, image: str, value: bytes, *, revision: int = 0, failed: bool = False) -> None:
        """A record with any value; `image` holds the ids of its results. `flush` sends it."""
        job, partition = job_in(path)
        headers = [("wire", b"1"), ("job", job.encode()), ("image", image.encode()), ("revision", b"%d" % revision), ("tenant", b"default")]
        if failed:
            headers.append(("kind", b"failed"))
        self._producer.produce(self._topic, value, partition=partition, headers=headers)
        self._producer.poll(0)

    def flush(self) -> None:
        """Return when Kafka has all."""
        assert self._producer.flush(20) == 0
