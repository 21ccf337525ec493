"""Dead letters of a classifier: an image that has no label, kept with its headers and the reason, so that it can be looked at and replayed.

Belongs to the loop's thread. Headers are always written. The files of images that senders made unreadable are kept only up to a share
of what is read: nobody can fill the disk twice by sending rubbish.
"""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Message

from convnet_kafka.classifier.results import Failed
from convnet_kafka.classifier.shipments import Shipment
from convnet_kafka.deadletters import dead_letter_headers
from convnet_kafka.messages import FailureCode, ImageRecord

# What a sender causes at will, and what nobody learns anything new from after the first few.
SENDERS_FAULT = frozenset({FailureCode.UNDECODABLE, FailureCode.UNSUPPORTED, FailureCode.TOO_LARGE})
# Kept whatever the share: a release with little traffic keeps all its dead letters. As much as six of the largest images by default.
FREE_BYTES = 64 * 1024 * 1024


class KeptBytes:
    """How many bytes of unreadable images may still be kept.

    Args:
        share: of the bytes that are read, 0 to 1.
        free: kept whatever the share; also the most that can be saved up.
    """

    def __init__(self, share: float, free: int = FREE_BYTES) -> None:
        self._share = share
        self._most = free
        self._left = float(free)

    def read(self, size: int) -> None:
        """Account for a batch of so many encoded bytes."""
        self._left = min(self._left + size * self._share, self._most)

    def take(self, size: int) -> bool:
        """Whether a file of this size may be kept; if so it is accounted for."""
        if size > self._left:
            return False
        self._left -= size
        return True


class DeadLetters:
    """Writes dead letters.

    Args:
        topic: of dead letters.
        kept: the bytes that may be kept of what senders made unreadable.
        on_dropped: called for every dead letter that is written without its file.
    """

    def __init__(self, topic: str, kept: KeptBytes, on_dropped: Callable[[], None] = lambda: None) -> None:
        self._topic = topic
        self.kept = kept
        self._on_dropped = on_dropped

    def send(self, shipment: Shipment, message: Message, record: ImageRecord, failed: Failed, model: int | None) -> None:
        """Add one to a batch's shipment, in the partition that its image's id gives.

        Args:
            shipment: whose acknowledgement the image's commit waits for.
            message: the image as it was read.
            record: the same, parsed.
            failed: why.
            model: version of the model that was asked, or None.
        """
        size = len(record.content)
        keep = failed.code not in SENDERS_FAULT or self.kept.take(size)
        if not keep:
            self._on_dropped()
        headers = dead_letter_headers(
            message.headers() or [],
            reason=failed.code,
            detail=failed.detail,
            attempts=failed.attempts,
            topic=message.topic() or "",
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            model=model,
            dropped=None if keep else size,
        )
        shipment.send(self._topic, record.content if keep else b"", headers, key=record.image.encode())
