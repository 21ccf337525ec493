"""How much of everything a wished rate of images takes: pure arithmetic from costs and wishes, with a reason for each figure.

Knows nothing of where costs come from, touches nothing, and decides nothing: what it says is for a person, or for a chart's values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from convnet_kafka.errors import SettingsError
from convnet_kafka.messages import Headers, ImageWriter, LabelRecord, Lane
from convnet_kafka.replies import label_headers, made_by
from convnet_kafka.settings import ClassifierSettings, KafkaSettings, ServerSettings, TopicSettings

MICRO = 1e-6
KIB, MIB, GIB = 2**10, 2**20, 2**30
HOUR_S = 3600

# What bounds a bulk batch (classifier/batching.py): an image of the fast lane waits for at most one, and a classifier holds it in memory.
# It takes 40 ms at most where that classifier had an image of the fast lane in the last 10 s, but no wish says how many come on it: of
# those that come at random, less often than some one in two seconds to each replica, more than 1 of 100 are the first in 10 s.
LONGEST_BATCH_S = 0.100
BATCH_BYTES = 32 * MIB
# HTTP, Kafka both ways and the answer, without the model's work: docs/performance.md (`classify`, p99 on a machine that is not idle).
PATH_S = 0.007
# Of an exponential tail, 99 of 100 lie under 4.6 times its mean.
TAIL = math.log(100)
# Kafka's log cleaner removes whole segments, and a full disk stops a broker.
DISK_SLACK = 1.25
# Delta-coded offset, timestamp and lengths of a record (KIP-98's format), and its share of the batch's 61 bytes.
RECORD_FRAMING_BYTES = 20
HEADER_FRAMING_BYTES = 2
# The reason and its like in the headers of a dead letter.
DEAD_LETTER_BYTES = 400
# A reader of labels takes some 8 us of a server a label (docs/performance.md): one partition is read by one thread.
LABELS_A_PARTITION = 20_000
MOST_PARTITIONS = 1000
BROKER_HEAP_BYTES = GIB
# What is read within this time comes from the page cache, not from the disk.
PAGE_CACHE_S = 30
# One pod may go (a node drained, an upgrade) without an interruption.
LEAST_REPLICAS = 2


@dataclass(frozen=True, slots=True)
class Costs:
    """What one image takes.

    Attributes:
        source: where the figures come from, for people.
        decode_us: CPU microseconds to decode one picture of `pixels`.
        predict_us: CPU microseconds to predict one image in a full batch.
        overhead_us: CPU microseconds a classifier spends beside these: reading, parsing, publishing.
        alone_us: microseconds to predict one image alone.
        server_us: CPU microseconds a server spends on an image and its label, without its bytes.
        server_us_per_kib: and for each KiB of it.
        broker_us: CPU microseconds of one broker for an image and its label, without its bytes.
        broker_us_per_kib: and for each KiB of it.
        pixels: width x height of the pictures that were decoded.
        image_bytes: their mean size.
        classifier_mib: peak memory of a classifier with this model, the pixels of its largest batch included.
    """

    source: str
    decode_us: float
    predict_us: float
    overhead_us: float
    alone_us: float
    server_us: float
    server_us_per_kib: float
    broker_us: float
    broker_us_per_kib: float
    pixels: int
    image_bytes: int
    classifier_mib: float

    def at(self, pixels: int) -> Costs:
        """The same for pictures of another size: decoding grows with the pixels, predicting does not."""
        return replace(self, decode_us=self.decode_us * pixels / self.pixels, pixels=pixels)

    @property
    def classifier_us(self) -> float:
        """CPU microseconds a classifier spends on one image."""
        return self.decode_us + self.predict_us + self.overhead_us

    def server_us_of(self, image_bytes: int) -> float:
        """CPU microseconds of a server for an image of this size."""
        return self.server_us + self.server_us_per_kib * image_bytes / KIB

    def broker_us_of(self, image_bytes: int) -> float:
        """CPU microseconds of a broker for one copy of an image of this size."""
        return self.broker_us + self.broker_us_per_kib * image_bytes / KIB


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for.

    Attributes:
        mean: images a second, over days.
        peak: images a second, at the busiest.
        image_bytes: mean size of an encoded image.
        latency_s: 99 of 100 single images on the fast lane have their label within so many seconds, at the peak, however few these are.
        retention_h: hours that images are kept.
        job_life_h: hours that a job can be read; labels are kept for both together.
        brokers: of Kafka.
        replication: copies of each partition.
        utilisation: share of a core that is planned with, 0-1.
        dead_share: share of images that end as dead letters, 0-1.
    """

    mean: float
    peak: float
    image_bytes: int
    latency_s: float = 1.0
    retention_h: float = 168.0
    job_life_h: float = 72.0
    brokers: int = 3
    replication: int = 3
    utilisation: float = 0.7
    dead_share: float = 0.01

    def check(self) -> None:
        """Raise SettingsError for wishes that contradict themselves."""
        greater = {"--rate": self.mean, "--peak": self.peak, "--image-bytes": self.image_bytes, "--latency": self.latency_s}
        greater |= {"--retention-hours": self.retention_h, "--job-life-hours": self.job_life_h}
        greater |= {"--brokers": self.brokers, "--replication-factor": self.replication}
        if wrong := [f"{name} is {value:g}" for name, value in greater.items() if not 0 < value < math.inf]:
            raise SettingsError(f"{', '.join(wrong)}: it must be more than 0")
        if self.peak < self.mean:
            raise SettingsError(f"--peak is {self.peak:g} images/s, less than the mean of {self.mean:g}: the peak is at least the mean")
        if self.replication > self.brokers:
            raise SettingsError(
                f"--replication-factor is {self.replication}, and there are {self.brokers} brokers: each copy lies on another broker"
            )
        if not 0 < self.utilisation < 1 or not 0 <= self.dead_share <= 1:
            raise SettingsError("--utilisation is between 0 and 1, --dead-letters from 0 to 1")
        largest = KafkaSettings.model_fields["max_image_bytes"].default
        if self.image_bytes > largest:
            raise SettingsError(
                f"--image-bytes is {self.image_bytes:,} on average; a server takes at most {largest:,} (KAFKA_MAX_IMAGE_BYTES). "
                "Send smaller pictures: the network sees a few hundred pixels of each side anyway"
            )


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of a plan.

    Attributes:
        what: is counted.
        value: with its unit.
        why: how it comes about.
    """

    what: str
    value: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything.

    Attributes:
        costs: that it was made from.
        wishes: that it was made for.
        lines: the figures with their reasons, for people.
        classifiers: (least, most) replicas: for the mean, for the peak.
        servers: the same.
        images_partitions: of each lane.
        labels_partitions: of labels, and of dead letters.
        disk_bytes: of each broker.
        network_in: bytes a second into each broker at the peak.
        network_out: bytes a second out of each broker at the peak.
        broker_cpu: cores of each broker at the peak, in quarters.
        broker_memory_mib: of each broker, page cache included.
        classifier_memory_mib: request of a classifier pod.
        server_memory_mib: request of a server pod.
    """

    costs: Costs
    wishes: Wishes
    lines: tuple[Line, ...]
    classifiers: tuple[int, int]
    servers: tuple[int, int]
    images_partitions: int
    labels_partitions: int
    disk_bytes: int
    network_in: float
    network_out: float
    broker_cpu: float
    broker_memory_mib: int
    classifier_memory_mib: int
    server_memory_mib: int


def plan(wishes: Wishes, costs: Costs) -> Plan:
    """What these wishes take at these costs.

    Raises:
        SettingsError: they contradict themselves, or no number of replicas can meet them.
    """
    wishes.check()
    utilisation = _utilisation(wishes, costs)
    cost_us = costs.classifier_us
    classifiers = _replicas(wishes, cost_us, utilisation)
    server_us = costs.server_us_of(wishes.image_bytes)
    servers = _replicas(wishes, server_us, wishes.utilisation)
    if classifiers[1] > MOST_PARTITIONS:
        raise SettingsError(
            f"{wishes.peak:,.0f} images/s at {cost_us:,.0f} us each take {classifiers[1]:,} classifiers, and a lane has at most "
            f"{MOST_PARTITIONS} partitions, one for each. Use a cheaper network or the int8 artefact, "
            "or several releases with a topic prefix each"
        )
    least = TopicSettings.model_fields["images_partitions"].default
    partitions = classifiers[1] * max(1, math.ceil(least / classifiers[1]))
    partitions = partitions if partitions <= MOST_PARTITIONS else classifiers[1]
    labels_partitions = max(TopicSettings.model_fields["labels_partitions"].default, math.ceil(wishes.peak / LABELS_A_PARTITION))

    image_bytes, label_bytes = record_bytes(wishes.image_bytes)
    kept_s, labels_s = wishes.retention_h * HOUR_S, (wishes.retention_h + wishes.job_life_h) * HOUR_S
    images_disk = wishes.mean * kept_s * image_bytes
    labels_disk = wishes.mean * labels_s * label_bytes
    dead_disk = wishes.mean * wishes.dead_share * labels_s * (image_bytes + DEAD_LETTER_BYTES)
    disk = (images_disk + labels_disk + dead_disk) * wishes.replication * DISK_SLACK / wishes.brokers

    written = wishes.peak * (image_bytes + label_bytes)
    network_in = written * wishes.replication / wishes.brokers
    network_out = written * wishes.replication / wishes.brokers  # each record goes to the other copies, and once to its reader
    broker_us = costs.broker_us_of(wishes.image_bytes) * wishes.replication
    broker_cpu = max(0.25, math.ceil(wishes.peak * broker_us * MICRO / wishes.brokers / wishes.utilisation * 4) / 4)
    cache = max(GIB, network_in * PAGE_CACHE_S)
    broker_memory = _rounded_mib((BROKER_HEAP_BYTES + cache) / MIB, 256)

    budget = KafkaSettings.model_fields["memory_budget_mib"].default
    server_memory = _rounded_mib(100 + budget + _default("upload_memory_mib") + _default("seen_memory_mib"), 64)
    classifier_memory = _rounded_mib(costs.classifier_mib + _batch_bytes(wishes, costs) / MIB, 64)
    lines = (
        Line(
            "classifiers",
            _range(classifiers),
            f"{cost_us:,.0f} us an image (decode {costs.decode_us:,.0f}, predict {costs.predict_us:,.0f}, "
            f"the rest {costs.overhead_us:,.0f}); one core each, busy to {utilisation:.0%} {_because(wishes, utilisation)}",
        ),
        Line(
            "classifier, request", f"1 CPU, {classifier_memory} MiB", f"its peak {costs.classifier_mib:,.0f} MiB, and the files of a batch"
        ),
        Line(
            "servers",
            _range(servers),
            f"{server_us:,.1f} us an image of {_size(wishes.image_bytes)}; one core each, busy to {wishes.utilisation:.0%}",
        ),
        Line(
            "server, request",
            f"1 CPU, {server_memory} MiB",
            "100 MiB itself, its Kafka buffers, uploads in part, and what it keeps of recent jobs; all are bounds by setting",
        ),
        Line(
            "partitions of each lane",
            str(partitions),
            f"a multiple of {classifiers[1]} classifiers, so that each has as many; {least} at least",
        ),
        Line(
            "partitions of labels",
            str(labels_partitions),
            f"one for {LABELS_A_PARTITION:,} labels/s at the peak, and several for many jobs",
        ),
        Line("brokers", str(wishes.brokers), f"{wishes.replication} copies of each partition"),
        Line(
            "disk of a broker",
            _size(disk),
            f"images {_size(images_disk)} in {wishes.retention_h:g} h, "
            f"labels {_size(labels_disk)} in {wishes.retention_h + wishes.job_life_h:g} h, "
            f"dead letters {_size(dead_disk)}; x {wishes.replication} copies / {wishes.brokers} brokers x {DISK_SLACK} not to be full",
        ),
        Line(
            "network of a broker",
            f"{_megabits(network_in)} in, {_megabits(network_out)} out",
            f"{_size(image_bytes)} and a label of {label_bytes:.0f} bytes an image, to and from {wishes.replication} copies, at the peak",
        ),
        Line(
            "broker, request",
            f"{broker_cpu:g} CPU, {broker_memory} MiB",
            f"{broker_us:,.0f} us an image, all copies; 1 GiB heap, and the page cache: {PAGE_CACHE_S} s of the peak, 1 GiB at least",
        ),
    )
    return Plan(
        costs, wishes, lines, classifiers, servers, partitions, labels_partitions, math.ceil(disk), network_in, network_out, broker_cpu,
        broker_memory, classifier_memory, server_memory,
    )  # fmt: skip


def record_bytes(image_bytes: int) -> tuple[float, float]:
    """Bytes in Kafka of one image and of its label, headers and framing included, with a name of 24 characters.

    The label has a record of its own, as when images come one by one: labels that travel together take a third less.
    """
    job, name, at = "0" * 32, "folder/picture-00001.jpeg", 1_700_000_000_000
    image, headers = ImageWriter(job=job, reply_partition=3, tenant="default", submitted_at_ms=at).write(name, b"", "image/jpeg")
    label = LabelRecord(image, name, 0, "a-class-name", 0.987654, None, None, 12, Lane.BULK, at, at)
    answer = label_headers(
        job=job, images=image, revision=0, tenant="default", failed=False, by=made_by("classifier-0123456789-abcde-1", 100_000, 64)
    )
    return image_bytes + _framed(headers), len(label.to_json()) + _framed(answer)


def longest_batch(image_us: float, image_bytes: float) -> float:
    """Images in the largest bulk batch: small ones end at the setting, costly ones at their time, large ones at their bytes.

    Args:
        image_us: microseconds a classifier spends on one.
        image_bytes: encoded bytes of one, more than 0.

    Returns:
        1 or more, since one is always taken; not whole, since both are means.
    """
    images = min(float(ClassifierSettings.model_fields["max_batch"].default), BATCH_BYTES / image_bytes)
    if images * image_us * MICRO > LONGEST_BATCH_S:
        images = LONGEST_BATCH_S / (image_us * MICRO)
    return max(images, 1.0)


def _framed(headers: Headers) -> float:
    return RECORD_FRAMING_BYTES + sum(len(name) + len(value) + HEADER_FRAMING_BYTES for name, value in headers)


def _utilisation(wishes: Wishes, costs: Costs) -> float:
    """How busy a classifier may be at the peak: the wish, or less where single images would wait too long behind others.

    Each replica has partitions of its own, so it is a queue of its own; with images that come at random and take equally long the mean wait
    is s * u / (2 * (1 - u)) (Pollaczek and Khinchine, M/D/1), and its tail is close to exponential (Kingman).
    """
    service_s = costs.classifier_us * MICRO
    alone_s = (costs.decode_us + costs.alone_us + costs.overhead_us) * MICRO
    in_the_way_s = service_s * longest_batch(costs.classifier_us, wishes.image_bytes)
    left_s = wishes.latency_s - PATH_S - in_the_way_s - alone_s
    if left_s <= 0:
        raise SettingsError(
            f"--latency is {wishes.latency_s * 1000:,.0f} ms, and one image takes {(PATH_S + in_the_way_s + alone_s) * 1000:,.1f} ms "
            f"however many classifiers there are: {PATH_S * 1000:.0f} ms through HTTP and Kafka, "
            f"{in_the_way_s * 1000:,.1f} ms behind a batch that was begun, {alone_s * 1000:,.1f} ms to be classified. "
            "Allow more, or use a cheaper network or the int8 artefact"
        )
    return min(wishes.utilisation, 2 * left_s / (TAIL * service_s + 2 * left_s))


def _replicas(wishes: Wishes, cost_us: float, utilisation: float) -> tuple[int, int]:
    least = LEAST_REPLICAS if wishes.brokers > 1 else 1
    mean, peak = (math.ceil(rate * cost_us * MICRO / utilisation) for rate in (wishes.mean, wishes.peak))
    return max(least, mean), max(least, peak)


def _because(wishes: Wishes, utilisation: float) -> str:
    if utilisation < wishes.utilisation:
        return f"for {wishes.latency_s * 1000:,.0f} ms"
    return "to leave room"


def _default(setting: str) -> int:
    return int(ServerSettings.model_fields[setting].default)


def _batch_bytes(wishes: Wishes, costs: Costs) -> float:
    """Encoded bytes of the largest batch."""
    return longest_batch(costs.classifier_us, wishes.image_bytes) * wishes.image_bytes


def _rounded_mib(mib: float, step: int) -> int:
    return math.ceil(mib / step) * step


def _range(replicas: tuple[int, int]) -> str:
    return str(replicas[0]) if replicas[0] == replicas[1] else f"{replicas[0]:,} to {replicas[1]:,}"


def _size(count: float) -> str:
    for unit, factor in (("TiB", 2**40), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count:,.0f} bytes"


def _megabits(bytes_a_second: float) -> str:
    return f"{bytes_a_second * 8 / 1e6:,.1f} Mbit/s"
