"""Dead letters: an image that has no label, kept with its headers and the reason, so that it can be looked at and replayed."""

from __future__ import annotations

from confluent_kafka import Message

from convnet_kafka.classifier.results import Failed
from convnet_kafka.classifier.shipments import Shipment
from convnet_kafka.messages import ImageRecord, dead_letter_headers


def send_dead_letter(shipment: Shipment, topic: str, message: Message, record: ImageRecord, failed: Failed, model: int | None) -> None:
    """Add one to a batch's shipment, in the partition that its image's id gives.

    Args:
        shipment: whose acknowledgement the image's commit waits for.
        topic: of dead letters.
        message: the image as it was read.
        record: the same, parsed.
        failed: why.
        model: version of the model that was asked, or None.
    """
    headers = dead_letter_headers(
        message.headers() or [],
        reason=failed.code,
        detail=failed.detail,
        attempts=failed.attempts,
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        model=model,
    )
    shipment.send(topic, record.content, headers, key=record.image.encode())
