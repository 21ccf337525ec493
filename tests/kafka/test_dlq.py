"""`convnet-kafka dlq` on a real Kafka: what is listed, saved, sent again and purged, and what is left alone."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from convnet_kafka.cli.dlq import command
from convnet_kafka.cli.letterbox import Letterbox
from convnet_kafka.deadletters import DeadLetter, Selection, dead_letter_headers
from convnet_kafka.errors import SettingsError
from convnet_kafka.kafka.topics import create_missing
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.messages import FailureCode, ImageRecord, Lane, image_base_headers, image_headers, image_id, now_ms
from convnet_kafka.replies import label_headers
from convnet_kafka.settings import KafkaSettings, TopicSettings
from convnet_kafka.topology import Topology
from support.topics import admin, kafka_settings

HOUR_MS = 3_600_000


class Box:
    """A release's dead letters, written here as a classifier writes them."""

    lane = Lane.BULK

    def __init__(self, broker: LocalBroker) -> None:
        self.kafka: KafkaSettings = kafka_settings(broker.bootstrap_servers)
        self.topology = Topology(self.kafka.topic_prefix)
        create_missing(
            admin(broker.bootstrap_servers), self.topology.specs(self.kafka, TopicSettings(images_partitions=1, labels_partitions=2))
        )
        self.job = secrets.token_hex(16)
        self._producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 1})

    def put(
        self,
        name: str,
        reason: FailureCode = FailureCode.UNDECODABLE,
        *,
        revision: int = 0,
        age_ms: int = 0,
        job: str | None = None,
        dropped: int | None = None,
        partition: int = 0,
    ) -> str:
        """Write a dead letter; returns its image's id."""
        job = job or self.job
        content = f"content of {name}".encode()
        image = image_id(job, name, content)
        at_ms = now_ms() - age_ms
        base = image_base_headers(job=job, reply_partition=1, tenant="acme", traceparent=None, submitted_at_ms=at_ms)
        headers = dead_letter_headers(
            image_headers(base, image=image, name=name, content_type="image/png", revision=revision),
            reason=reason,
            detail=f"why {name}",
            attempts=2,
            topic="convnet.images",
            partition=0,
            offset=7,
            model=3 if reason is FailureCode.MODEL_ERROR else None,
            dropped=dropped,
        )
        value = b"" if dropped is not None else content
        self._producer.produce(self.topology.dead_letters, value, key=image, partition=partition, headers=headers, timestamp=at_ms)  # type: ignore[arg-type]
        self.flush()
        return image

    def put_label(self, image: str, *, failed: bool = False) -> None:
        headers = label_headers(job=self.job, images=image, revision=1, tenant="acme", failed=failed)
        self._producer.produce(self.topology.labels, b"{}", partition=1, headers=headers)  # type: ignore[arg-type]
        self.flush()

    def put_foreign(self) -> None:
        self._producer.produce(self.topology.dead_letters, b"?", partition=0)
        self.flush()

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def run(self, *arguments: str) -> Result:
        own = ["--bootstrap-servers", self.kafka.bootstrap_servers, "--topic-prefix", self.kafka.topic_prefix]
        return CliRunner().invoke(command, [*arguments, *own], catch_exceptions=False)

    def names(self) -> list[str]:
        """What lies there, by the command's own account, in the order of places."""
        lines = [json.loads(line) for line in self.run("list", "--json").stdout.splitlines()]
        return [line["name"] for line in sorted(lines, key=lambda line: [int(part) for part in line["place"].split("/")])]

    def sent(self, topic: str, count: int) -> list[Message]:
        """The first records of a topic's only partition."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": "none", "enable.auto.commit": False})
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
            assert end == count
            consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
            return consumer.consume(count, 20) if count else []
        finally:
            consumer.close()


@pytest.fixture
def box(broker: LocalBroker) -> Iterator[Box]:
    return Box(broker)


def test_letters_are_listed_by_reason_job_name_and_time(box: Box) -> None:
    box.put("cats/1.png")
    box.put("cats/2\x1b[31m.png", FailureCode.MODEL_ERROR, partition=1)
    box.put("dogs/1.png", FailureCode.QUARANTINED, age_ms=3 * HOUR_MS)
    box.put("other.png", job=secrets.token_hex(16), dropped=12_345)
    box.put_foreign()
    everything = box.run("list")
    assert everything.exit_code == 0
    assert "\x1b" not in everything.stdout
    assert "2 undecodable" in everything.stdout
    assert "(12,345)" in everything.stdout
    assert "1 records are no dead letters of ours" in everything.stderr

    def listed(*arguments: str) -> set[str]:
        return {json.loads(line)["name"] for line in box.run("list", "--json", *arguments).stdout.splitlines()}

    assert listed("--reason", "quarantined", "--reason", "model-error") == {"cats/2\x1b[31m.png", "dogs/1.png"}
    assert listed("--job", box.job, "--name", "cats/*") == {"cats/1.png", "cats/2\x1b[31m.png"}
    token = base64.urlsafe_b64encode(b"\x01" + bytes.fromhex(box.job) + bytes(60)).rstrip(b"=").decode()
    assert listed("--job", token) == {"cats/1.png", "cats/2\x1b[31m.png", "dogs/1.png"}
    assert listed("--until", "2h") == {"dogs/1.png"}
    assert listed("--since", "4h", "--until", "2h") == {"dogs/1.png"}
    assert listed("--since", "2h") == {"cats/1.png", "cats/2\x1b[31m.png", "other.png"}
    assert "no dead letters that match" in box.run("list", "--name", "nothing").stdout
    assert "and 2 more" in box.run("list", "--limit", "2").stdout
    assert box.run("list", "--since", "soon").exit_code == 2


def test_one_is_shown_with_all_that_is_known_of_it(box: Box) -> None:
    image = box.put("a.png", FailureCode.MODEL_ERROR, partition=1)
    for which in ("1/0", image[:10]):
        shown = json.loads(box.run("show", which).stdout)
        assert (
            shown.items()
            >= {
                "place": "1/0",
                "reason": "model-error",
                "detail": "why a.png",
                "attempts": 2,
                "model": 3,
                "image": image,
                "job": box.job,
                "source": "convnet.images[0] at 7",
                "kept": True,
                "tenant": "acme",
            }.items()
        )
    missing = box.run("show", "9/9")
    assert (missing.exit_code, "no dead letter 9/9" in missing.stderr) == (1, True)


def test_files_are_saved_under_names_of_ours(box: Box, tmp_path: Path) -> None:
    box.put("../../etc/passwd")
    box.put(".hidden/..", FailureCode.QUARANTINED)
    box.put("gone.png", dropped=99)
    said = box.run("save", str(tmp_path / "out"))
    assert "2 files" in said.stdout
    assert "1 letters have no file" in said.stdout
    lines = [json.loads(line) for line in (tmp_path / "out" / "letters.jsonl").read_text().splitlines()]
    files = {line["name"]: line.get("file") for line in lines}
    assert files["gone.png"] is None
    assert (tmp_path / "out" / files["../../etc/passwd"]).read_bytes() == b"content of ../../etc/passwd"
    assert files["../../etc/passwd"].startswith("undecodable/")
    assert {path.parent.name for path in (tmp_path / "out").rglob("*-r0-*")} == {"undecodable", "quarantined"}
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_an_image_is_sent_again_with_its_own_headers_and_its_revision_one_higher(box: Box) -> None:
    box.put("a.png")
    image = box.put("a.png", revision=1)  # its first replay failed as well: of the two letters this one counts
    assert "1 images are sent again" in box.run("replay", "--reason", "undecodable").stdout
    (message,) = box.sent(box.topology.images(box.lane), 1)
    record = ImageRecord.parse(message.headers(), message.value())
    assert (record.image, record.revision, record.name, record.tenant, record.content) == (image, 2, "a.png", "acme", b"content of a.png")
    assert {name for name, _ in message.headers() or []} == {
        "wire",
        "job",
        "image",
        "name",
        "reply-partition",
        "tenant",
        "submitted-at",
        "content-type",
        "revision",
    }
    assert box.names() == ["a.png", "a.png"]


def test_what_has_a_label_has_expired_or_has_no_file_is_not_sent_again(box: Box) -> None:
    labelled = box.put("labelled.png")
    box.put_label(labelled)
    box.put_label(box.put("failed again.png"), failed=True)
    box.put("old.png", age_ms=73 * HOUR_MS)
    box.put("no file.png", dropped=5)
    with pytest.raises(SettingsError, match="--all"):
        box.run("replay")
    said = box.run("replay", "--all").stdout
    assert "1 images are sent again" in said
    for reason in ("its job has expired", "it has a label (--force", "its file was not kept"):
        assert f"1 not sent: {reason}" in said
    box.sent(box.topology.images(box.lane), 1)
    assert "2 images are sent again" in box.run("replay", "--all", "--force", "--lane", "fast").stdout
    assert "4 dead letters are meant" in box.run("replay", "--all", "--dry-run").stdout


def test_replays_keep_to_their_rate(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        box.put(f"{number}.png")
    naps: list[float] = []
    monkeypatch.setattr("convnet_kafka.cli.letterbox.time.sleep", naps.append)
    letterbox = Letterbox(box.kafka, 72)
    letters = list(letterbox.letters(Selection()))
    assert all(isinstance(letter, DeadLetter) for letter in letters)
    assert letterbox.replay(letters, lane=box.lane, rate=10, force=False, said=lambda _: None).sent == 5
    assert len(naps) == 4
    assert 0.3 < max(naps) <= 0.4


def test_a_purge_by_age_removes_the_beginning_and_moves_nothing(box: Box) -> None:
    box.put("old.png", age_ms=5 * HOUR_MS)
    box.put("older.png", age_ms=6 * HOUR_MS, partition=1)
    box.put("new.png")
    said = box.run("purge", "--until", "4h", "--yes").stdout
    assert said.strip() == "2 dead letters are removed"
    assert box.names() == ["new.png"]


def test_a_purge_by_reason_leaves_everything_else_as_it_was(box: Box) -> None:
    box.put("keep 1.png", FailureCode.QUARANTINED, age_ms=HOUR_MS)
    box.put("rubbish 1.png")
    kept = box.put("keep 2.png", FailureCode.MODEL_ERROR)
    box.put("rubbish 2.png")
    box.put("keep 3.png", FailureCode.MODEL_ERROR)
    before = {line["name"]: line for line in map(json.loads, box.run("list", "--json").stdout.splitlines())}
    said = box.run("purge", "--reason", "undecodable", "--yes").stdout
    assert said.strip() == "2 dead letters are removed; 2 that lay between them were moved"
    after = {line["name"]: line for line in map(json.loads, box.run("list", "--json").stdout.splitlines())}
    assert set(after) == {"keep 1.png", "keep 2.png", "keep 3.png"}
    for name, line in after.items():
        assert {**line, "place": ""} == {**before[name], "place": ""}
    assert json.loads(box.run("show", kept).stdout)["model"] == 3
    assert box.run("purge", "--reason", "undecodable", "--yes").stdout.startswith("0 dead letters")
    assert "remove 3 dead letters for good?" in box.run("purge", "--all").stdout
    assert len(box.names()) == 3
