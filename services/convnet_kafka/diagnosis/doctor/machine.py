"""What this machine or container gives: settings without typing errors, room on disk, and libraries of the versions we need."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import confluent_kafka
from pydantic_settings import BaseSettings

from convnet_kafka import __version__
from convnet_kafka.diagnosis.doctor.findings import Finding, Findings, fail, skip, warn, well
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.messages import WIRE_VERSION
from convnet_kafka.settings import ClassifierSettings, KafkaSettings, ServerSettings, TopicSettings

MIB = 1024 * 1024
CLASSES: tuple[type[BaseSettings], ...] = (KafkaSettings, TopicSettings, ServerSettings, ClassifierSettings)
# Ours alone: a variable that begins so and is no setting is a typing error. KAFKA_ is everybody's.
OURS = ("CONVNET_SERVER_", "CONVNET_CLASSIFIER_", "CONVNET_TOPICS_")
ALIKE = 0.85
# KIP-848 as we use it (pyproject.toml asks for it too; an image that was built by hand may not).
LEAST_LIBRDKAFKA = (2, 12)
# A model's version takes some 30 MB; Kafka and temporary files need room to breathe.
LEAST_FREE_MIB = 256
LEAST_FREE_PART = 0.05
PYTHONS = ((3, 11), (3, 14))


def settings(place: Installation) -> Findings:
    """The settings can be read, fit each other, and no variable is misspelt."""
    known = sorted(_known())
    wrong = 0
    for name in sorted(place.environment):
        if name in known or not name.startswith((*OURS, "KAFKA_")):
            continue
        alike = difflib.get_close_matches(name, known, 1, ALIKE)
        if alike or name.startswith(OURS):
            wrong += 1
            yield warn(f"{name} is set and is no setting: nobody reads it", f"did you mean {alike[0]}?" if alike else "take it away")
    topics = place.topics
    if topics.min_insync_replicas > topics.replication_factor:
        wrong += 1
        yield fail(
            f"CONVNET_TOPICS_MIN_INSYNC_REPLICAS is {topics.min_insync_replicas} and CONVNET_TOPICS_REPLICATION_FACTOR "
            f"{topics.replication_factor}: no image could ever be stored",
            "2 and 3 on a cluster of three brokers, 1 and 1 with one",
        )
    if place.server is not None and place.server.backlog_age_limit == 0:
        wrong += 1
        yield warn("CONVNET_SERVER_BACKLOG_AGE_LIMIT is 0: images may expire unclassified", "0.5 refuses uploads before that")
    if not wrong:
        yield well(
            f"settings are read: {place.kafka.bootstrap_servers}, prefix {place.kafka.topic_prefix}, {place.kafka.security_protocol}"
        )


def _known() -> set[str]:
    return {f"{kind.model_config.get('env_prefix', '')}{name}".upper() for kind in CLASSES for name in kind.model_fields}


def disk(place: Installation) -> Findings:
    """There is room where we write, and for what the settings promise."""
    if place.server is not None:
        wanted = place.server.spool_mib * place.server.processes
        yield _room(
            Path(place.server.spool_folder or tempfile.gettempdir()), wanted, "zip archives in progress", "CONVNET_SERVER_SPOOL_MIB"
        )
    if place.classifier is not None and place.classifier.models.is_dir():
        yield _room(place.classifier.models, LEAST_FREE_MIB, "new versions of the model", "")
    if place.folder is not None and place.folder.is_dir():
        yield _room(place.folder, LEAST_FREE_MIB, "Kafka's records", "")
    if place.server is None and place.classifier is None and place.folder is None:
        yield _room(Path(tempfile.gettempdir()), LEAST_FREE_MIB, "temporary files", "")


def _room(folder: Path, wanted_mib: int, what: str, setting: str) -> Finding:
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return fail(f"{folder}, for {what}, cannot be used: {error.strerror}", "make it, or set another folder")
    free = usage.free // MIB
    said = f"{folder} has {free:,} MiB free, for {what}"
    if not os.access(folder, os.W_OK) and setting:
        return fail(f"{folder}, for {what}, cannot be written", "mount a volume there that this user may write (an emptyDir)")
    if free < wanted_mib:
        return fail(
            f"{said}; {wanted_mib:,} MiB may be needed", f"more room, or {setting} lower" if setting else "make room, or a larger volume"
        )
    if usage.free < usage.total * LEAST_FREE_PART:
        return warn(f"{said}, {usage.free / usage.total:.0%} of it", "make room, or a larger volume")
    return well(said)


def versions(_place: Installation) -> Findings:
    """Python and the libraries are of versions that work."""
    said = f"convnet-kafka {__version__}, wire version {WIRE_VERSION}, Python {sys.version.split()[0]}"
    low, beyond = PYTHONS
    if not low <= sys.version_info[:2] < beyond:
        yield warn(f"{said}: it is tested with Python 3.11 to 3.13", "take one of these")
    librdkafka = confluent_kafka.libversion()[0]
    if tuple(int(part) for part in librdkafka.split("-")[0].split(".")[:2]) < LEAST_LIBRDKAFKA:
        yield fail(
            f"librdkafka is {librdkafka}: it does not speak KIP-848 as we use it",
            "install confluent-kafka as the requirements pin it, or set KAFKA_GROUP_PROTOCOL=classic",
        )
    found = []
    for name in ("confluent-kafka", "aiohttp", "ai-edge-litert", "tensorflow"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    try:
        asked = metadata.version("convnet-kafka")
    except metadata.PackageNotFoundError:
        yield skip("the package is not installed, it runs from a folder")
        return
    if asked != __version__:
        yield warn(f"the code is {__version__} and the installed package says {asked}", "install it again")
    yield well(f"{said}, librdkafka {librdkafka}, {', '.join(found)}")
