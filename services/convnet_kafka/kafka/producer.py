"""An idempotent producer that tells, once for each request, which records Kafka has and which it may not have.

Owns the confluent producer and the one thread that polls it, unless its owner polls. Callers never wait in `send`: a full queue
is answered with `QueueFull`, which is back-pressure, not an error. After a fatal error the producer is replaced and what was in
flight is failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from convnet_kafka.errors import ConvnetKafkaError
from convnet_kafka.kafka.connection import Headers, Options
from convnet_kafka.kafka.errorlog import ErrorLog

logger = structlog.get_logger(__name__)

# How long one poll waits for callbacks; only bounds how fast the thread stops.
POLL_S = 0.1
# Refused before anything was sent: sending it again would be refused again.
REFUSALS = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.TOPIC_AUTHORIZATION_FAILED})


# What was wrong, or None; and the record with its place, or None when it never left.
OnAnswer = Callable[[KafkaError | None, Message | None], None]


class QueueFull(Exception):
    """The producer's queue is full: wait until records have been acknowledged."""


class ProducerBroken(ConvnetKafkaError):
    """A producer met a fatal error; nothing it still held may count as stored."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A record that Kafka has not acknowledged.

    Attributes:
        tag: what `send` was given to recognise it by.
        maybe_stored: True when Kafka may have it all the same; False when it was refused for good.
        reason: librdkafka's or the broker's words.
        code: Kafka's error code.
    """

    tag: object
    maybe_stored: bool
    reason: str
    code: int = KafkaError.UNKNOWN


class Delivery:
    """The records of one request: counts them in and their acknowledgements down, and calls back once.

    `send` and `seal` belong to one thread, the acknowledgements to the producer's; each counts up only its own, so no lock is needed.
    """

    __slots__ = ("_acknowledged", "_called", "_on_done", "_producer", "_sealed", "failures", "sent")

    def __init__(self, producer: AcknowledgedProducer, on_done: Callable[[], None]) -> None:
        self._producer = producer
        self._on_done = on_done
        self._acknowledged = 0
        self._sealed = False
        self._called = threading.Lock()
        self.sent = 0
        self.failures: list[Failure] = []

    def send(
        self,
        topic: str,
        value: bytes | None,
        headers: Headers,
        *,
        partition: int = -1,
        key: bytes | None = None,
        tag: object = None,
        on_answer: OnAnswer | None = None,
    ) -> None:
        """Hand one record to the producer.

        Args:
            topic: where to.
            value: the record's value; copied, so the caller may reuse its buffer. None takes its key away from a compacted topic.
            headers: the record's headers.
            partition: a partition, or -1 to let the producer choose (sticky).
            key: the record's key, if any.
            tag: comes back in `failures`.
            on_answer: told of this record's acknowledgement or failure as well, from the producer's thread; None as a rule.

        Raises:
            QueueFull: nothing was sent; wait and try again.
        """
        try:
            answered = partial(self._on_delivery, tag) if on_answer is None else partial(self._tell_and_count, on_answer, tag)
            self._producer.produce(topic, value, headers, partition, key, answered)
        except BufferError:
            raise QueueFull from None
        except KafkaException as error:
            self.failures.append(_failure(tag, error.args[0]))
            if on_answer is not None:
                on_answer(error.args[0], None)
            return
        self.sent += 1

    def seal(self) -> None:
        """No more records: `on_done` is called when the last one is acknowledged or failed, at once when all are."""
        self._sealed = True
        self._check()

    @property
    def pending(self) -> int:
        """Records without an answer so far."""
        return self.sent - self._acknowledged

    def _on_delivery(self, tag: object, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.failures.append(_failure(tag, error))
        self._acknowledged += 1
        if self._sealed:
            self._check()

    def _tell_and_count(self, on_answer: OnAnswer, tag: object, error: KafkaError | None, message: Message) -> None:
        on_answer(error, message)
        self._on_delivery(tag, error, message)

    def _check(self) -> None:
        # Both threads may get here at once; the lock, never released, lets one of them call.
        if self._acknowledged == self.sent and self._called.acquire(blocking=False):
            self._on_done()


def _failure(tag: object, error: KafkaError) -> Failure:
    return Failure(tag, maybe_stored=error.code() not in REFUSALS, reason=error.str(), code=error.code())


class AcknowledgedProducer:
    """One confluent producer, and its poll thread unless the owner polls.

    Args:
        options: from `connection.producer_options`.
        name: of the thread, and in logs.
        on_fatal: called from the poll thread after a fatal error, once the producer has been replaced; not without the thread.
        own_thread: False for an owner that calls `poll` in a loop of its own: each acknowledgement then costs no change of threads.
    """

    def __init__(
        self, options: Options, name: str, on_fatal: Callable[[KafkaError], None] | None = None, *, own_thread: bool = True
    ) -> None:
        self._options = options | {"error_cb": self._on_error}
        self._name = name
        self._tell = ErrorLog("producer", producer=name)
        self._on_fatal = on_fatal
        self._own_thread = own_thread
        self._producer: Producer | None = None
        self._fatal: KafkaError | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Make the producer and start the poll thread. Does not wait for Kafka."""
        self._producer = Producer(self._options)
        if not self._own_thread:
            return
        self._thread = threading.Thread(target=self._run, name=f"{self._name}-poll", daemon=True)
        self._thread.start()

    def delivery(self, on_done: Callable[[], None]) -> Delivery:
        """A new request's worth of records; `on_done` is called from this producer's thread or from `seal`'s caller."""
        return Delivery(self, on_done)

    def produce(
        self,
        topic: str,
        value: bytes | None,
        headers: Headers,
        partition: int,
        key: bytes | None,
        on_delivery: Callable[..., None],
    ) -> None:
        """Hand a record to confluent-kafka; raises what it raises. Use `Delivery.send`."""
        if self._producer is None:
            raise KafkaException(KafkaError(KafkaError._STATE, "the producer is closed"))  # noqa: SLF001 - the library's public error code
        # By position, which saves 0.4 us a record: the callback has two places, and a timestamp of 0 is now.
        self._producer.produce(topic, value, key, partition, on_delivery, on_delivery, 0, headers)  # type: ignore[arg-type]

    def poll(self, timeout_s: float = 0.0) -> None:
        """Answer on the calling thread for what was acknowledged or failed since; only without a thread of its own.

        Args:
            timeout_s: seconds to wait for the first answer.

        Raises:
            ProducerBroken: a fatal error; end the process, or make a new producer.
        """
        if self._producer is not None:
            self._producer.poll(timeout_s)
        if self._fatal is not None:
            raise ProducerBroken(f"the producer {self._name} cannot go on: {self._fatal.str()}")

    def queued(self) -> int:
        """Records that wait to be sent or acknowledged."""
        return len(self._producer) if self._producer is not None else 0

    def flush(self, timeout_s: float) -> int:
        """Wait until all is acknowledged or failed; returns how many records are left."""
        return int(self._producer.flush(timeout_s)) if self._producer is not None else 0

    def close(self, timeout_s: float) -> int:
        """Flush, stop the thread and let the producer go; returns how many records were given up."""
        left = self.flush(timeout_s)
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=POLL_S * 10)
        if self._producer is not None and left:
            self._producer.purge()
            self._producer.poll(0)
        self._producer = None
        return left

    def _run(self) -> None:
        while not self._stop.is_set():
            producer = self._producer
            if producer is None:
                return
            producer.poll(POLL_S)
            if self._fatal is not None:
                self._replace(producer, self._fatal)

    def _replace(self, broken: Producer, error: KafkaError) -> None:
        """A producer with a fatal error sends nothing any more: fail what it holds and go on with a new one."""
        logger.error("producer replaced after a fatal error", producer=self._name, error=error.str())
        self._producer = Producer(self._options)
        self._fatal = None
        broken.purge()
        broken.flush(POLL_S * 10)
        if self._on_fatal is not None:
            self._on_fatal(error)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._FATAL:  # noqa: SLF001 - the library's public error code
            self._fatal = error
        else:
            self._tell(error)
