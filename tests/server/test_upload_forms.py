"""Many images in every form that is taken, and what is said of forms that are not: through two servers, into a real Kafka."""

from __future__ import annotations

import asyncio
import gzip
import sys
import uuid
import zipfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.server import receiving
from convnet_kafka.server.assembly import Assembly
from support.fake_classifier import FakeClassifier
from support.http import TAR, call, open_job, png, stream, tar, upload
from support.running_server import RunningServer, config
from support.server_pair import ServerPair
from support.waiting import until_ready, until_true
from support.zips import patched, zipped

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

IMAGES = {f"d/{number} ä.png": png(f"form {number}") for number in range(50)}
ALL = {"accepted": 50, "refused": 0, "unknown": 0, "problems": []}


def form(images: dict[str, bytes], **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData(fields, quote_fields=False)
    for name, content in images.items():
        data.add_field("images", content, filename=name, content_type="image/png")
    return data


def typed(kind: str, **more: str) -> dict[str, str]:
    return {"Content-Type": kind, **more}


async def results(http: aiohttp.ClientSession, job: str, images: int) -> list[str]:
    await call(http, "POST", f"{job}/close", 200, json={"images": images})
    lines, end = await stream(http, job)
    assert end is not None
    assert end["end"] == "complete"
    return sorted(str(line["name"]) for line in lines)


async def test_the_same_images_in_every_form_give_one_result_each(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    job = await open_job(http)
    path = f"{job}/images"
    plain = tar(IMAGES)
    assert await call(http, "POST", path, 202, data=form(IMAGES, comment="hello")) == ALL
    for kind, encoding, data in (
        ("application/x-tar", "", gzip.compress(plain)),
        ("application/x-tar", "", zstd.compress(plain)),
        ("application/x-tar", "gzip", gzip.compress(plain)),
        ("application/x-tar", "zstd", zstd.compress(plain)),
        ("application/gzip", "", gzip.compress(plain)),
        ("application/x-gtar", "", plain),
        ("application/x-tar+gzip", "", gzip.compress(plain)),
        ("application/zstd", "", zstd.compress(plain)),
        ("application/zip", "", zipped(IMAGES)),
        ("application/x-zip-compressed", "", zipped(IMAGES, zipfile.ZIP_DEFLATED)),
    ):
        headers = typed(kind) | ({"Content-Encoding": encoding} if encoding else {})
        assert await call(http, "POST", path, 202, data=data, headers=headers) == ALL, (kind, encoding)
    assert await results(http, job, 50) == sorted(IMAGES)


async def test_what_is_no_picture_is_refused_by_name_in_every_form_and_the_rest_is_accepted(http: aiohttp.ClientSession) -> None:
    files = {"../up.png": png("up"), "notes.txt": b"hello", "inner.zip": zipped(IMAGES), "empty.png": b"", "big.png": png("x" * 100_001)}
    job = await open_job(http)
    for data, headers in (
        (tar(files), TAR),
        (gzip.compress(tar(files)), typed("application/gzip")),
        (zipped(files), typed("application/zip")),
        (form(files), {}),
    ):
        answer = await call(http, "POST", f"{job}/images", 202, data=data, headers=headers)
        assert (answer["accepted"], answer["refused"]) == (1, 4)
        codes = {problem["name"]: problem["code"] for problem in answer["problems"]}
        assert codes == {"notes.txt": "unsupported", "inner.zip": "unsupported", "empty.png": "empty", "big.png": "too-large"}


async def test_a_damaged_member_of_a_zip_is_refused_by_name(http: aiohttp.ClientSession) -> None:
    data = patched(zipped(IMAGES), "d/3 ä.png", crc=1)
    answer = await call(http, "POST", f"{await open_job(http)}/images", 202, data=data, headers=typed("application/zip"))
    assert (answer["accepted"], [problem["code"] for problem in answer["problems"]]) == (49, ["damaged"])


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
async def test_a_bomb_is_stopped_at_the_limit_of_decoded_bytes(http: aiohttp.ClientSession, pack: object) -> None:
    bomb = pack(tar({"a.png": png("a")})[:1024] + tar({"zeros": bytes(30_000_000)}))  # type: ignore[operator]
    assert len(bomb) < 100_000
    answer = await call(http, "POST", f"{await open_job(http)}/images", 413, data=bomb, headers=TAR)
    assert answer["accepted"] in {0, 1}
    assert "decompressed" in answer["detail"]


async def test_a_zip_that_claims_too_many_bytes_is_stopped(http: aiohttp.ClientSession) -> None:
    data = zipped({f"{number}": bytes(99_000) for number in range(60)}, zipfile.ZIP_DEFLATED)
    answer = await call(http, "POST", f"{await open_job(http)}/images", 413, data=data, headers=typed("application/zip"))
    assert "unpacked" in answer["detail"]


@pytest.mark.parametrize(
    ("status", "data", "headers"),
    [
        (400, gzip.compress(tar(IMAGES))[:-20], TAR),
        (400, gzip.compress(gzip.compress(tar(IMAGES))), TAR),
        (400, zipped(IMAGES), TAR),
        (400, zipped(IMAGES)[:-30], typed("application/zip")),
        (400, b"", typed("application/zip")),
        (400, b"", typed("multipart/form-data; boundary=x")),
        (400, b"--x\r\n", typed("multipart/form-data; boundary=x")),
        (400, b"--x--", typed("multipart/form-data")),
        (413, zipped({str(number): b"" for number in range(3001)}), typed("application/zip")),
        (415, gzip.compress(png("x")), typed("image/png", **{"Content-Encoding": "gzip"})),
        (415, zstd.compress(png("x")), typed("image/png", **{"Content-Encoding": "zstd"})),
        (415, zipped(IMAGES), typed("application/zip", **{"Content-Encoding": "gzip"})),
        (415, tar(IMAGES), typed("application/x-tar", **{"Content-Encoding": "br"})),
        (415, tar(IMAGES), typed("multipart/mixed; boundary=x")),
    ],
)
async def test_a_body_that_cannot_be_taken_is_a_problem_that_says_why(
    http: aiohttp.ClientSession, status: int, data: bytes, headers: dict[str, str]
) -> None:
    answer = await call(http, "POST", f"{await open_job(http)}/images", status, data=data, headers=headers)
    assert answer["detail"]
    assert (await upload(http, await open_job(http), {"next.png": png("next")}))["accepted"] == 1


async def test_classify_takes_every_form_and_a_hundred_images(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    params = {"timeout": "30"}
    for data, headers in (
        (form(IMAGES), {}),
        (zipped(IMAGES), typed("application/zip")),
        (zstd.compress(tar(IMAGES)), typed("application/zstd")),
    ):
        answer = await call(http, "POST", "/v1/classify", 200, data=data, headers=headers, params=params)
        assert sorted(label["name"] for label in answer["labels"]) == sorted(IMAGES)
    many = {f"{number}.png": png(str(number)) for number in range(101)}
    for data in (form(many), form(dict(list(many.items())[:100]))):
        status = 413 if data is not None and len(data._fields) == 101 else 200
        await call(http, "POST", "/v1/classify", status, data=data, params=params)


async def test_the_same_tar_ten_times_at_once_through_both_servers_gives_one_result_each(
    http: aiohttp.ClientSession, classifier: FakeClassifier, prefix: str, broker: LocalBroker, tmp_path: Path
) -> None:
    images = {f"{number}.png": png(f"ten times {number}") for number in range(300)}
    body = tar(images)
    settings = config(tmp_path, broker.bootstrap_servers, prefix, kafka={"max_image_bytes": 100_000})
    with ServerPair(settings) as pair:
        await asyncio.to_thread(pair.until_ready)
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(pair.url, connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as both:
            job = await open_job(both)
            answers = await asyncio.gather(*(call(both, "POST", f"{job}/images", 202, data=body, headers=TAR) for _ in range(10)))
            assert [answer["accepted"] for answer in answers] == [300] * 10
            assert await results(both, job, 300) == sorted(images)

            async def counted() -> bool:
                """The other server may hear of the last labels some milliseconds later."""
                counts = await call(both, "GET", job, 200)
                assert counts["labelled"] <= 300
                return (counts["labelled"], counts["failed"], counts["complete"]) == (300, 0, True)

            for _ in pair.servers:
                await until_true(counted)


async def test_a_stalled_sender_ends_with_408_and_holds_up_nobody(
    broker: LocalBroker, prefix: str, server: ServerPair, tmp_path: Path
) -> None:
    settings = config(tmp_path, broker.bootstrap_servers, prefix, kafka={"max_image_bytes": 100_000}, upload_deadline_s=1.5, max_uploads=20)
    with RunningServer(settings) as slow:
        await asyncio.to_thread(until_ready, slow.url)
        async with aiohttp.ClientSession(slow.url, timeout=aiohttp.ClientTimeout(total=60)) as session:
            job = await open_job(session)
            over = asyncio.Event()

            async def stalled(begin: bytes) -> AsyncIterator[bytes]:
                yield begin
                await over.wait()

            begun = [
                asyncio.create_task(call(session, "POST", f"{job}/images", 408, data=stalled(begin), headers=headers))
                for begin, headers in (
                    (tar(IMAGES)[:5000], TAR),
                    (gzip.compress(tar(IMAGES))[:50], TAR),
                    (png("x"), typed("image/png")),
                    (zipped(IMAGES)[:100], typed("application/zip")),
                    (b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n", typed("multipart/form-data; boundary=x")),
                )
            ]
            for _ in range(20):
                assert (await upload(session, job, {"quick.png": png("quick")}))["accepted"] == 1
            ended = await asyncio.gather(*begun)
            over.set()
            assert {answer["type"] for answer in ended} == {"/problems/too-slow"}


async def test_images_that_come_in_part_wait_for_one_another_when_memory_is_short_and_all_are_accepted(
    broker: LocalBroker, tmp_path: Path
) -> None:
    prefix = f"memory-{uuid.uuid4().hex[:8]}"
    settings = config(tmp_path, broker.bootstrap_servers, prefix, kafka={"max_image_bytes": 1_000_000}, upload_memory_mib=1, max_uploads=40)
    with RunningServer(settings) as small:
        await asyncio.to_thread(until_ready, small.url)
        async with aiohttp.ClientSession(
            small.url, timeout=aiohttp.ClientTimeout(total=90), connector=aiohttp.TCPConnector(limit=0)
        ) as session:
            job = await open_job(session)
            go_on = asyncio.Event()

            async def halves(data: bytes) -> AsyncIterator[bytes]:
                for at in range(0, len(data), 100_000):
                    if at == 300_000:
                        await go_on.wait()
                    yield data[at : at + 100_000]

            uploads = [
                asyncio.create_task(
                    call(
                        session,
                        "POST",
                        f"{job}/images",
                        202,
                        data=halves(png(f"{number}" + "x" * 700_000) if number % 2 else tar({"a.png": png(f"{number}" + "x" * 700_000)})),
                        headers=typed("image/png") if number % 2 else TAR,
                    )
                )
                for number in range(20)
            ]

            async def full() -> bool:
                async with session.get("/metrics") as metrics:
                    lines = (await metrics.text()).splitlines()
                held = next(float(line.split()[1]) for line in lines if line.startswith("convnet_server_assembling_bytes "))
                return held > 1_000_000

            await until_true(full)
            go_on.set()
            assert [answer["accepted"] for answer in await asyncio.gather(*uploads)] == [1] * 20
            async with session.get("/metrics") as metrics:
                text = await metrics.text()
            assert "convnet_server_assembling_bytes 0.0" in text
            assert "convnet_server_assembly_waits_total 0.0" not in text


async def test_who_keeps_others_waiting_for_memory_ends_with_408_and_the_others_go_on(
    broker: LocalBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "Assembly", partial(Assembly, pass_s=3.0))
    prefix = f"pass-{uuid.uuid4().hex[:8]}"
    settings = config(tmp_path, broker.bootstrap_servers, prefix, kafka={"max_image_bytes": 2_000_000}, upload_memory_mib=1)
    with RunningServer(settings) as small:
        await asyncio.to_thread(until_ready, small.url)
        async with aiohttp.ClientSession(small.url, timeout=aiohttp.ClientTimeout(total=90)) as session:
            path = f"{await open_job(session)}/images"
            image = png("x" * 1_500_000)
            go_on = asyncio.Event()

            async def halves() -> AsyncIterator[bytes]:
                for at in range(0, 800_000, 100_000):
                    yield image[at : at + 100_000]
                await go_on.wait()
                yield image[800_000:]

            async def held(at_least: int) -> bool:
                async with session.get("/metrics") as metrics:
                    lines = (await metrics.text()).splitlines()
                return next(float(line.split()[1]) for line in lines if line.startswith("convnet_server_assembling_bytes ")) >= at_least

            patient = asyncio.create_task(call(session, "POST", path, 202, data=halves(), headers=typed("image/png")))
            await until_true(lambda: held(700_000))
            answer = await call(session, "POST", path, 408, data=halves(), headers=typed("image/png"))
            assert "memory is short" in answer["detail"]
            for _ in range(3):
                assert (await call(session, "POST", path, 202, data=image, headers=typed("image/png")))["accepted"] == 1
            go_on.set()
            assert (await patient)["accepted"] == 1


async def test_the_disk_for_zips_is_bounded_and_left_empty(broker: LocalBroker, tmp_path: Path) -> None:
    prefix = f"disk-{uuid.uuid4().hex[:8]}"
    folder = tmp_path / "spool"
    folder.mkdir()
    settings = config(tmp_path, broker.bootstrap_servers, prefix, spool_mib=1, spool_folder=folder, max_uploads=9)
    with RunningServer(settings) as running:
        await asyncio.to_thread(until_ready, running.url)
        async with aiohttp.ClientSession(running.url, timeout=aiohttp.ClientTimeout(total=60)) as session:
            job = await open_job(session)
            zips = typed("application/zip")
            too_large = zipped({f"{number}.png": png("x" * 60_000) for number in range(20)})
            assert (await call(session, "POST", f"{job}/images", 413, data=too_large, headers=zips))["type"] == "/problems/too-large"
            assert (await call(session, "POST", f"{job}/images", 202, data=zipped(IMAGES), headers=zips))["accepted"] == 50
            go_on = asyncio.Event()

            async def halves(data: bytes) -> AsyncIterator[bytes]:
                yield data[:1000]
                await go_on.wait()
                yield data[1000:]

            # Without a length it takes all the room there is.
            first = asyncio.create_task(call(session, "POST", f"{job}/images", 202, data=halves(zipped(IMAGES)), headers=zips))

            async def taken() -> bool:
                async with session.get("/metrics") as metrics:
                    return "convnet_server_spool_bytes 1.048576e+06" in await metrics.text()

            await until_true(taken)
            answer = await call(session, "POST", f"{job}/images", 429, data=zipped(IMAGES), headers=zips)
            assert answer["type"] == "/problems/too-many-uploads"
            go_on.set()
            assert (await first)["accepted"] == 50
            assert not list(folder.iterdir())
