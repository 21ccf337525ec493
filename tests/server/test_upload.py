"""Uploads against a real Kafka: what is accepted is there, what is not is named, and sending again harms nothing."""

from __future__ import annotations

import asyncio
import json
import random
import tarfile
from collections.abc import AsyncIterator

import aiohttp
import pytest
from confluent_kafka import Consumer

from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.messages import image_id
from support.fake_classifier import FakeClassifier
from support.http import TAR, call, open_job, png, stream, tar, upload
from support.waiting import until_async


async def pieces(data: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    at = 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        yield data[at : at + size]
        at += size


async def close_and_stream(http: aiohttp.ClientSession, job: str, images: int) -> list[dict[str, object]]:
    await call(http, "POST", f"{job}/close", 200, json={"images": images})
    lines, end = await stream(http, job)
    assert end is not None
    assert end["end"] == "complete"
    assert end["total"] == images
    return lines


async def test_a_tar_of_images_gets_one_label_each(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    images = {f"train/{number % 10}/{number}.png": png(f"picture {number}") for number in range(500)}
    job = await open_job(http)
    assert await upload(http, job, images) == {"accepted": 500, "refused": 0, "unknown": 0, "problems": []}
    lines = await close_and_stream(http, job, 500)
    assert sorted(str(line["name"]) for line in lines) == sorted(images)
    assert {line["label"] for line in lines} == {"seven"}


async def test_one_image_is_answered_with_its_id_and_named_as_asked(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    job = await open_job(http)
    path = f"{job}/images"
    named = await call(http, "POST", path, 202, params={"name": "ä/1.png"}, data=png("1"), headers={"Content-Type": "image/png"})
    keyed = await call(http, "POST", path, 202, data=png("2"), headers={"Idempotency-Key": "key-2"})
    again = await call(http, "POST", path, 202, data=png("2"), headers={"Idempotency-Key": "key-2"})
    nameless = [await call(http, "POST", path, 202, data=png("3"), headers={"Content-Type": "image/png"}) for _ in range(2)]
    assert named == {"accepted": 1, "refused": 0, "unknown": 0, "problems": [], "image": named["image"]}
    assert keyed["image"] == again["image"]
    assert nameless[0]["image"] != nameless[1]["image"]
    lines = await close_and_stream(http, job, 4)
    assert {line["image"] for line in lines} == {named["image"], keyed["image"], *(one["image"] for one in nameless)}
    assert {"ä/1.png", "key-2"} <= {line["name"] for line in lines}


async def test_what_lies_in_kafka_is_what_was_sent(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    content = b"\xff\xd8\xff" + random.Random(5).randbytes(90_000)
    job = await open_job(http)
    await upload(http, job, {"..//x\u202e.jpg": content})
    await until_async(lambda: content in classifier.contents, what="the image is in Kafka")
    headers = classifier.images[classifier.contents.index(content)]
    assert headers["name"].decode() == "..//x\u202e.jpg"
    assert headers["content-type"] == b"image/jpeg"
    assert headers["tenant"] == b"default"
    assert headers["wire"] == b"1"
    assert headers["image"].decode() == image_id(headers["job"].decode(), "..//x\u202e.jpg", content)
    # Only the random part of the job's id, never what gives access.
    assert len(headers["job"]) == 32


async def test_the_same_images_in_other_pieces_any_number_of_times_give_one_result_each(
    http: aiohttp.ClientSession, classifier: FakeClassifier
) -> None:
    images = {f"{number}.png": png(f"again {number}" * 40) for number in range(60)}
    job = await open_job(http)
    for kind, sizes in ((tarfile.PAX_FORMAT, [1 << 20]), (tarfile.GNU_FORMAT, [1000, 513, 7]), (tarfile.USTAR_FORMAT, [4096])):
        data = pieces(tar(images, kind=kind), sizes)
        assert (await call(http, "POST", f"{job}/images", 202, data=data, headers=TAR))["accepted"] == 60
    await asyncio.gather(*(upload(http, job, dict([item])) for item in list(images.items())[:2]))
    lines = await close_and_stream(http, job, 60)
    assert sorted(str(line["name"]) for line in lines) == sorted(images)


async def test_everything_that_is_no_good_image_is_named_and_the_rest_is_accepted(http: aiohttp.ClientSession) -> None:
    job = await open_job(http)
    images = {
        "good.png": png("good"),
        "notes.txt": b"hello",
        "empty.png": b"",
        "big.png": png("x" * 100_001),
        "n" * 1025: png("name"),
        "../../up.png": png("up"),
        "日本.png": png("unicode"),
    }
    answer = await upload(http, job, images)
    assert (answer["accepted"], answer["refused"], answer["unknown"]) == (3, 4, 0)
    codes = {problem["name"]: (problem["status"], problem["code"]) for problem in answer["problems"]}
    assert codes["notes.txt"] == ("refused", "unsupported")
    assert codes["empty.png"] == ("refused", "empty")
    assert codes["big.png"] == ("refused", "too-large")
    assert min(codes.values()) == ("refused", "bad-name")
    assert all(problem["detail"] for problem in answer["problems"])


async def test_links_and_devices_are_refused_by_name(http: aiohttp.ClientSession) -> None:
    link = tarfile.TarInfo("link.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    body = link.tobuf() + tar({"good.png": png("good")})
    answer = await call(http, "POST", f"{await open_job(http)}/images", 202, data=body, headers=TAR)
    assert answer["accepted"] == 1
    assert [(problem["name"], problem["code"]) for problem in answer["problems"]] == [("link.png", "not-a-file")]


async def test_a_truncated_tar_tells_where_and_how_many_were_accepted(http: aiohttp.ClientSession) -> None:
    body = tar({f"{number}.png": png(str(number)) for number in range(20)})
    answer = await call(http, "POST", f"{await open_job(http)}/images", 400, data=body[: 1024 * 7 + 515], headers=TAR)
    assert answer["type"] == "/problems/bad-request"
    assert (answer["accepted"], answer["refused"], answer["unknown"], answer["at_byte"]) == (7, 0, 0, 1024 * 7 + 515)


async def test_a_tar_with_too_many_members_or_bytes_is_stopped(http: aiohttp.ClientSession) -> None:
    job = await open_job(http)
    body = tar({f"{number}.png": png("x") for number in range(3001)})
    answer = await call(http, "POST", f"{job}/images", 413, data=body, headers=TAR)
    assert answer["accepted"] == 3000
    chunked = pieces(tar({f"{number}.png": png("x" * 90_000) for number in range(60)}), [65536])
    answer = await call(http, "POST", f"{job}/images", 413, data=chunked, headers=TAR)
    assert answer["type"] == "/problems/too-large"


@pytest.mark.parametrize(
    ("status", "slug", "body", "headers"),
    [
        (415, "unsupported", b"hello", {"Content-Type": "image/png"}),
        (415, "unsupported", b"hello", {"Content-Type": "text/plain"}),
        (415, "unsupported", png("x"), {"Content-Type": "image/png", "Content-Encoding": "br"}),
        (413, "too-large", png("x" * 100_000), {"Content-Type": "image/png"}),
        (400, "bad-request", b"", {"Content-Type": "image/png"}),
        (400, "bad-request", png("x"), {"Content-Type": "image/png", "Idempotency-Key": "k" * 1025}),
        (400, "bad-request", b"", TAR),
        (400, "bad-request", b"BZh" + bytes(1000), TAR),
    ],
)
async def test_a_single_image_or_body_that_is_refused_is_a_problem(
    http: aiohttp.ClientSession, status: int, slug: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = await call(http, "POST", f"{await open_job(http)}/images", status, data=body, headers=headers)
    assert answer["type"] == f"/problems/{slug}"


async def test_an_unknown_forged_or_foreign_job_is_not_found_before_the_body_is_read(http: aiohttp.ClientSession) -> None:
    job = await open_job(http)
    forged = job[:-2] + ("AA" if job[-2:] != "AA" else "BB")
    for path in (forged, "/v1/jobs/x", f"/v1/jobs/{'A' * 120}"):
        answer = await call(http, "POST", f"{path}/images", 404, data=png("x"), headers={"Content-Type": "image/png"})
        assert answer["type"] == "/problems/job-unknown"


async def raw(http: aiohttp.ClientSession, request: str) -> bytes:
    """Send a request's head alone, and read until the first empty line."""
    url = http._base_url
    assert url is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(request.encode())
        async with asyncio.timeout(5):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Content-Type: application/x-tar\r\nContent-Length: 1000", b"100 Continue"),
        ("Content-Type: application/x-tar\r\nContent-Length: 5000000", b"413"),
        ("Content-Type: image/png\r\nContent-Length: 100001", b"413"),
        ("Content-Type: text/html\r\nContent-Length: 10", b"415"),
    ],
)
async def test_a_waiting_sender_is_told_before_it_sends(http: aiohttp.ClientSession, headers: str, status: bytes) -> None:
    job = await open_job(http)
    answer = await raw(http, f"POST {job}/images HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{headers}\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status)
    if status != b"100 Continue":
        assert b"connection: close" in answer.lower()


async def test_a_waiting_sender_with_a_forged_job_is_told_before_it_sends(http: aiohttp.ClientSession) -> None:
    answer = await raw(
        http, "POST /v1/jobs/x/images HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 404")


async def test_one_upload_too_many_is_told_before_it_sends_and_probes_still_answer(one: aiohttp.ClientSession) -> None:
    job = await open_job(one)
    go_on = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield tar({"a.png": png("a")})[:600]
        await go_on.wait()
        yield tar({"a.png": png("a")})[600:]

    uploads = [asyncio.create_task(call(one, "POST", f"{job}/images", 202, data=endless(), headers=TAR)) for _ in range(2)]
    async with asyncio.timeout(10):
        while True:
            async with one.get("/metrics") as metrics:
                if "convnet_server_uploads 2.0" in await metrics.text():
                    break
    answer = await call(one, "POST", f"{job}/images", 429, data=tar({"b.png": png("b")}), headers=TAR)
    assert answer["type"] == "/problems/too-many-uploads"
    early = await raw(
        one, f"POST {job}/images HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n"
    )
    assert early.startswith(b"HTTP/1.1 429")
    async with one.get("/healthz") as health:
        assert health.status == 200
    go_on.set()
    assert [one["accepted"] for one in await asyncio.gather(*uploads)] == [1, 1]
    assert (await upload(one, job, {"b.png": png("b")}))["accepted"] == 1


async def test_an_accepted_image_is_in_the_topic_the_moment_it_is_answered(
    http: aiohttp.ClientSession, broker: LocalBroker, prefix: str
) -> None:
    job = await open_job(http)
    name = f"here-{random.random()}.png"
    await upload(http, job, {name: png("here")})
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": name, "auto.offset.reset": "earliest"})
    consumer.subscribe([f"{prefix}.images"])
    try:
        found: list[bytes] = []

        def there() -> bool:
            messages = [message for message in consumer.consume(1000, 0.2) if message.error() is None]
            found.extend(dict(message.headers() or [])["name"] for message in messages)  # type: ignore[arg-type,misc]
            return name.encode() in found

        await until_async(there, what="the image is read back")
    finally:
        consumer.close()


async def test_unknown_paths_and_methods_are_problems(http: aiohttp.ClientSession) -> None:
    assert (await call(http, "GET", "/v2/jobs", 404))["type"] == "/problems/not-found"
    assert (await call(http, "DELETE", "/v1/jobs", 405))["type"] == "/problems/method-not-allowed"
    job = await open_job(http)
    for body in (b"", b"[]", b'{"images": -1}', b'{"images": "7"}', b'{"images": true}', json.dumps({"images": 10**16}).encode()):
        assert (await call(http, "POST", f"{job}/close", 400, data=body))["type"] == "/problems/bad-request"
