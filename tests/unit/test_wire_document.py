"""docs/wire.md is true: its id algorithm, its examples, its headers, codes and topic settings are the code's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from convnet_kafka import control, deadletters, messages, replies
from convnet_kafka.messages import FailureCode, ImageRecord, LabelRecord
from convnet_kafka.settings import KafkaSettings, TopicSettings
from convnet_kafka.topology import Topology

DOCUMENT = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
JOB = "000102030405060708090a0b0c0d0e0f"


def section(title: str) -> str:
    """The text under a heading, up to the next heading of any depth."""
    match = re.search(rf"^#+ {re.escape(title)}$\n(.*?)(?=^#+ |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match, f"docs/wire.md has no section {title!r}"
    return match.group(1)


def codes(cell: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]*)`", cell)


def first_cells(text: str) -> set[str]:
    """Everything in backquotes in the first column of a table."""
    return {code for line in text.splitlines() if line.startswith("| `") for code in codes(line.split("|")[1])}


@pytest.fixture(scope="module")
def documented_image_id():
    block = re.search(r"```python\n(.*?)```", section("Its id"), re.DOTALL)
    assert block
    names: dict = {}
    exec(block.group(1), names)  # the document's own program, with nothing of ours in its namespace
    return names["image_id"]


@pytest.mark.parametrize("name", ["a.png", "cats/7.png", "Füße 🦶.png", "", "n" * 1024])
@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 100])
def test_the_documented_program_computes_our_image_id(documented_image_id, name: str, content: bytes) -> None:
    assert documented_image_id(JOB, name, content) == messages.image_id(JOB, name, content)


def test_the_documented_examples_of_image_ids_are_true() -> None:
    rows = [
        [(codes(cell) or [""])[0] for cell in line.split("|")[1:-1]] for line in section("Its id").splitlines() if line.startswith("| `")
    ]
    assert len(rows) == 2
    for job, name, content, image in rows:
        assert messages.image_id(job, name, content.encode()) == image


def test_every_header_of_an_image_is_documented_and_every_required_one_is_required() -> None:
    base = messages.image_base_headers(job=JOB, reply_partition=0, tenant="default", traceparent="00-0-0-01", submitted_at_ms=1)
    headers = messages.image_headers(base, image="0" * 32, name="a", content_type="image/png", revision=1)
    text = section("An image")
    assert {name for name, _ in headers} == first_cells(text)
    required = {codes(line)[0] for line in text.splitlines() if line.startswith("| `") and "| required |" in line}
    smallest = [(name, value) for name, value in headers if name in required]
    assert ImageRecord.parse(smallest, b"x").revision == 0
    for missing in required:
        with pytest.raises(messages.WireError):
            ImageRecord.parse([header for header in smallest if header[0] != missing], b"x")


def test_every_header_of_results_closes_and_dead_letters_is_documented() -> None:
    result = replies.label_headers(
        job=JOB, images="0" * 32, revision=0, tenant="default", failed=True, traceparent="00-0-0-01", by=replies.made_by("host-7", 1, 2)
    )
    assert {name for name, _ in result} == first_cells(section("Results"))
    close = replies.close_headers(job=JOB, tenant="default")
    assert {name for name, _ in close} <= set(codes(section("The end of a job")))
    dead = deadletters.dead_letter_headers(
        [], reason=FailureCode.UNDECODABLE, detail="", attempts=1, topic="t", partition=0, offset=0, model=None, dropped=1
    )
    assert {name for name, _ in dead} == deadletters.OWN_HEADERS == first_cells(section("A dead letter"))


def test_every_failure_code_is_documented() -> None:
    assert {code.value for code in FailureCode} == first_cells(section("A result"))


def test_documented_results_are_read_and_written_as_they_stand() -> None:
    blocks = re.findall(r"```json\n(.*?)\n```", section("A result"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        record = LabelRecord.from_json(block.encode())
        assert record.to_json().decode() == block
        assert messages.image_id(JOB, record.name, b"hello" if record.error is None else b"") == record.image


def test_documented_bounds_of_a_record_of_results_are_ours() -> None:
    text = section("Results")
    assert f"at most {replies.MOST_RESULTS})" in text
    assert f"until they have {replies.CLOSE_AT_BYTES // 1024} KiB" in text


def test_a_record_of_several_results_is_as_documented() -> None:
    """Taken apart by the page's words alone: the header cut after each 32 digits, the value at line feeds."""
    blocks = [block.encode() for block in re.findall(r"```json\n(.*?)\n```", section("A result"), re.DOTALL)]
    results = replies.Results(JOB, "default", 0, failed=False)
    for number in range(500):
        label = LabelRecord.from_json(blocks[0])
        label.image = f"{number:032x}"
        results.images.append(label.image)
        results.values.append(label.to_json())
    seen = 0
    for pairs, value in results.records():
        headers = dict(pairs)
        assert len(value) < replies.CLOSE_AT_BYTES + 1000
        assert {name: headers[name] for name in ("wire", "job", "tenant", "revision")} == {
            "wire": b"1", "job": JOB.encode(), "tenant": b"default", "revision": b"0"
        }  # fmt: skip
        lines = value.split(b"\n")
        assert len(headers["image"]) == 32 * len(lines)
        for at, line in enumerate(lines):
            assert json.loads(line)["image"].encode() == headers["image"][32 * at : 32 * at + 32] == b"%032x" % (seen + at)
        assert [label.image for label in replies.labels_in(pairs, value)] == [f"{seen + at:032x}" for at in range(len(lines))]
        seen += len(lines)
    assert seen == 500


def test_documented_control_records_are_read_and_written_as_they_stand() -> None:
    text = section("The control topic")
    assert first_cells(text) == {"kind", *(kind.value for kind in control.ControlKind)}
    keys = {
        codes(line.split("|")[1])[0]: codes(line.split("|")[2])[0]
        for line in text.splitlines()
        if line.startswith("| `") and "`kind`" not in line
    }
    block = re.search(r"```json\n(.*?)\n```", text, re.DOTALL)
    assert block
    values = dict(zip(("model", "aliases", "cancelled"), block.group(1).splitlines(), strict=True))
    for kind, value in values.items():
        record = control.parse_control(control.control_headers(control.ControlKind(kind)), keys[kind].encode(), value.encode())
        assert isinstance(record, control.ControlRecord)
        assert (record.kind, record.key, record.to_json().decode()) == (kind, keys[kind], value)
    assert keys["warm-up"] == control.WARM_UP_KEY
    assert {name for name, _ in control.control_headers(control.ControlKind.MODEL)} == {"wire", "kind"}
    assert f"{control.MAX_CANCELLED:,} cancelled jobs" in text


def test_documented_close_is_read() -> None:
    value = next(code for code in codes(section("The end of a job")) if code.startswith("{"))
    assert replies.parse_close(value.encode()) == json.loads(value)["images"]


def test_documented_bounds_and_topic_settings_are_ours() -> None:
    text = section("An image")
    for bound in (messages.MAX_NAME_BYTES, messages.MAX_TENANT_BYTES, messages.MAX_CONTENT_TYPE_BYTES):
        assert f"at most {bound} bytes" in text
    assert f"at most {messages.MAX_PARTITION}" in text
    topics = section("Topics")
    specs = {spec.name: spec for spec in Topology("convnet").specs(KafkaSettings(_env_file=None), TopicSettings(_env_file=None))}
    assert set(specs) == first_cells(topics)
    for name, setting in [
        ("convnet.images", "retention.ms"),
        ("convnet.labels", "retention.ms"),
        ("convnet.labels", "max.message.bytes"),
        ("convnet.images", "max.message.bytes"),
        ("convnet.images.dlq", "max.message.bytes"),
    ]:
        assert specs[name].config[setting] in topics
