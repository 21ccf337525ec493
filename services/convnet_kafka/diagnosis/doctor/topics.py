"""The topics of this release: there, as they must be, whole, and the same ones that jobs were opened on."""

from __future__ import annotations

import time

from convnet_kafka.diagnosis.doctor.findings import Findings, fail, skip, warn, well
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.errors import ConvnetKafkaError
from convnet_kafka.kafka.topics import differences, topic_id
from convnet_kafka.server.config import signing_keys
from convnet_kafka.server.jobs import JobError, JobSigner, JobUnknown, unverified
from convnet_kafka.topology import HOUR_MS


def settings(place: Installation) -> Findings:
    """All topics are there, with settings that lose, refuse or hide nothing."""
    specs = place.topology.specs(place.kafka, place.topics)
    found = differences(place.admin(), specs)
    for sentence in found:
        if "does not exist" in sentence:
            yield fail(
                sentence,
                "'convnet-kafka topics create' makes it; if images went elsewhere, is KAFKA_TOPIC_PREFIX the same everywhere? A topic that "
                "is hidden from this user (ACLs, Describe) looks as if it did not exist",
            )
        elif "partitions" in sentence:
            yield warn(sentence, "'convnet-kafka topics grow' gives it more, or set the number that it has")
        elif "cannot be read" in sentence:
            yield skip(sentence)
        else:
            yield fail(sentence, "kafka-configs.sh changes it, or the KafkaTopic that made it; or change our setting that asks for it")
    if not found:
        yield well(f"all {len(specs)} topics with prefix {place.kafka.topic_prefix} are as they must be")


def partitions(place: Installation) -> Findings:
    """Every partition has a leader, and all its copies."""
    metadata = place.admin().list_topics(timeout=place.patience_s)
    ours = {spec.name for spec in place.topology.specs(place.kafka, place.topics)}
    short, least = 0, place.topics.min_insync_replicas
    for name in sorted(ours & metadata.topics.keys()):
        for number, partition in sorted(metadata.topics[name].partitions.items()):
            where = f"{name}[{number}]"
            if partition.leader < 0:
                yield fail(
                    f"{where} has no leader: it can be neither written nor read", "a broker is away: bring it back, its log says why"
                )
            elif len(partition.isrs) < min(least, len(partition.replicas)):
                yield fail(
                    f"{where} has {len(partition.isrs)} of {len(partition.replicas)} copies in sync, {least} must be: writing is refused",
                    "a broker is away or behind: bring it back",
                )
            elif len(partition.isrs) < len(partition.replicas):
                short += 1
    if short:
        yield warn(f"{short} partitions have fewer copies in sync than they should", "a broker is away or behind: look at it")
    else:
        yield well("every partition has a leader and all its copies")


def job(place: Installation) -> Findings:
    """The labels topic is the one that a job was opened on, and our keys know the job (with --job)."""
    identity = topic_id(place.admin(), place.topology.labels)
    if place.job is None:
        yield well(f"the labels topic has the UUID {identity.hex()}; --job ID looks whether a job was opened on it")
        return
    job = unverified(place.job)
    if job is None:
        yield fail("what was given with --job is no job id", "give the whole id, as the server gave it")
        return
    if job.topic_id != identity:
        yield fail(
            f"job {job.id} was opened on a labels topic with UUID {job.topic_id.hex()}, this one has {identity.hex()}: it was made anew, "
            "or this is another Kafka",
            "its results are gone: open a new job and send the images again",
        )
    age_ms = time.time() * 1000 - job.opened_at_ms
    if age_ms > place.topics.job_life_hours * HOUR_MS:
        yield fail(f"job {job.id} was opened {age_ms / HOUR_MS:.0f} hours ago: its life is over", "open a new job")
    if place.server is None or not place.server.signing_key_files:
        yield skip("whether our keys signed the job is not known: no server's signing keys here")
        return
    try:
        JobSigner(signing_keys(place.server), lambda: identity, int(place.topics.job_life_hours * HOUR_MS)).parse(place.job, job.tenant)
    except JobUnknown:
        yield fail(
            f"job {job.id} was not signed with the keys of this server: it answers 404",
            "all servers of a release need the same key; after a change the old one stands second in CONVNET_SERVER_SIGNING_KEY_FILES",
        )
    except JobError:
        pass  # told above
    except ConvnetKafkaError as error:
        yield skip(str(error))
    else:
        yield well(f"job {job.id} is ours, of tenant {job.tenant}, in partition {job.partition} from offset {job.offset}")
