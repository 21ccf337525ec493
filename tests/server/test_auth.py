"""Keys on a running server: every call asks for one, tenants do not see each other, rates hold, and nothing secret stands in any log."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from convnet_kafka import apikeys
from convnet_kafka.apikeys import Key, KeyFile, Permission
from convnet_kafka.client import Client, ClientOptions
from convnet_kafka.client.errors import NotAllowed, NotAuthenticated, RateLimited
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.server.app import build
from convnet_kafka.server.auth import CALLS
from support.fake_classifier import FakeClassifier
from support.http import TAR, call, png, tar, until_ready
from support.keys import NOBODYS, Keys, ask, head
from support.running_server import RunningServer, config
from support.waiting import until_async

PICTURE = {"Content-Type": "image/png"}
IMPATIENT = ClientOptions(retry=RetryPolicy(give_up_s=0))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys") / "keys.json")


@pytest.fixture(scope="module")
def guarded(broker: LocalBroker, prefix: str, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = config(tmp_path_factory.mktemp("server"), broker.bootstrap_servers, prefix, keys_file=keys.path)
    with RunningServer(settings) as running:
        yield running


@pytest.fixture
async def web(guarded: RunningServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(guarded.url, timeout=aiohttp.ClientTimeout(total=40)) as session:
        await until_ready(session)
        yield session


async def open_job(web: aiohttp.ClientSession, keys: Keys, name: str = "acme") -> str:
    return str((await call(web, "POST", "/v1/jobs", 201, headers=keys.bearer(name)))["job"])


def routes(server: RunningServer) -> list[tuple[str, str]]:
    """Method and template of every route of the application, as it is really built."""
    found = {(route.method, route.resource.canonical) for route in build(server.config).router.routes() if route.resource is not None}
    return sorted(found)


def body(template: str) -> dict[str, Any]:
    """What makes a call a good one."""
    if template.endswith("/close"):
        return {"json": {"images": 1}}
    return {"data": png(template), "headers": PICTURE} if template.endswith(("/images", "/classify")) else {}


async def test_every_call_asks_for_a_key_and_takes_no_wrong_one(web: aiohttp.ClientSession, guarded: RunningServer, keys: Keys) -> None:
    job = await open_job(web, keys)
    asked = 0
    for method, template in routes(guarded):
        path = template.replace("{job}", job)
        for wrong in ({}, {"Authorization": f"Bearer {NOBODYS}"}, {"X-API-Key": "x"}, keys.bearer("revoked"), keys.bearer("expired")):
            async with web.request(method, path, headers=wrong) as answer:
                if not path.startswith("/v1/"):
                    assert answer.status != 401
                    continue
                asked += 1
                assert answer.status == 401, (method, template, wrong)
                assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="convnet-kafka"')
                assert ("invalid_token" in answer.headers["WWW-Authenticate"]) == bool(wrong)
                if method != "HEAD":
                    problem = await answer.json(content_type="application/problem+json")
                    assert problem["type"] == "/problems/unauthenticated"
                    assert "Authorization: Bearer" in problem["detail"]
    assert asked >= 5 * 7
    # Nothing of it was done.
    state = await call(web, "GET", f"/v1/jobs/{job}", 200, headers=keys.bearer("acme"))
    assert (state["state"], state["total"], state["labelled"]) == ("open", None, 0)


async def test_a_sender_that_waits_for_the_word_is_asked_for_its_key_first(guarded: RunningServer, keys: Keys) -> None:
    for method, template in routes(guarded):
        if template.startswith("/v1/"):
            start = f"{method} {template.replace('{job}', 'x')} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n"
            answer = await head(guarded.url, f"{start}X-API-Key: {NOBODYS}\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 401"), (method, template)
            assert b"connection: close" in answer.lower()


async def test_a_key_is_taken_from_either_header(web: aiohttp.ClientSession, keys: Keys) -> None:
    text = keys.texts["acme"]
    for headers in (
        {"Authorization": f"Bearer {text}"},
        {"Authorization": f"bearer   {text} "},
        {"X-API-Key": text},
        # A proxy's own password does not stand in the way.
        {"Authorization": "Basic eDp5", "X-API-Key": text},
    ):
        await call(web, "POST", "/v1/jobs", 201, headers=headers)
    answer = await call(web, "POST", "/v1/jobs", 401, headers={"Authorization": f"Bearer {NOBODYS}", "X-API-Key": text})
    assert "nobody has this key" in answer["detail"]


async def test_a_key_does_what_it_is_for_and_nothing_else(web: aiohttp.ClientSession, guarded: RunningServer, keys: Keys) -> None:
    job = await open_job(web, keys)
    for name, permission in (("reader", Permission.READ), ("sender", Permission.UPLOAD)):
        for (method, template), needed in CALLS.items():
            if (method, template) not in routes(guarded) or needed.permission is permission:
                continue
            status, problem = await ask(web, method, template.replace("{job}", job), keys.bearer(name), **body(template))
            assert (status, problem["type"]) == (403, "/problems/not-allowed"), (name, method, template)
            assert f"the permission {needed.permission}" in problem["detail"]
            assert name in problem["detail"]
    await call(web, "GET", f"/v1/jobs/{job}", 200, headers=keys.bearer("reader"))
    await call(web, "POST", f"/v1/jobs/{job}/images", 202, data=png("a"), headers={**PICTURE, **keys.bearer("sender")})


async def test_another_tenants_job_is_not_there_for_any_call(
    web: aiohttp.ClientSession, guarded: RunningServer, broker: LocalBroker, prefix: str, keys: Keys
) -> None:
    job = await open_job(web, keys)
    of_jobs = [(method, template) for method, template in routes(guarded) if "{job}" in template]
    assert ("DELETE", "/v1/jobs/{job}") in of_jobs
    assert len(of_jobs) >= 6
    with FakeClassifier(broker.bootstrap_servers, prefix):
        await call(web, "POST", f"/v1/jobs/{job}/images", 202, data=png("mine"), headers={**PICTURE, **keys.bearer("acme")})
        for method, template in of_jobs:
            path = template.replace("{job}", job)
            for accept in ("*/*", "application/x-ndjson", "text/event-stream") if template.endswith("/labels") else ("*/*",):
                status, problem = await ask(web, method, path, {**keys.bearer("other"), "Accept": accept}, **body(template))
                assert status == 404, (method, template)
                assert method == "HEAD" or problem["type"] == "/problems/job-unknown"
        # Neither closed nor cancelled, and its own tenant reads it with any key.
        labels = await call(web, "GET", f"/v1/jobs/{job}/labels?wait=30", 200, headers=keys.bearer("reader"))
        assert [label["label"] for label in labels["labels"]] == ["seven"]
        state = await call(web, "GET", f"/v1/jobs/{job}", 200, headers=keys.bearer("reader"))
        assert (state["state"], state["total"], state["labelled"]) == ("open", None, 1)
        for method, template in sorted(of_jobs, key=lambda route: route[0] == "DELETE"):
            status, _ = await ask(web, method, template.replace("{job}", job), keys.bearer("acme"), **body(template))
            assert status < 300, (method, template)


async def test_the_tenant_stands_beside_every_image_in_kafka(
    web: aiohttp.ClientSession, broker: LocalBroker, prefix: str, keys: Keys
) -> None:
    with FakeClassifier(broker.bootstrap_servers, prefix) as classifier:
        await call(web, "POST", "/v1/classify?name=fast", 200, data=png("a"), headers={**PICTURE, **keys.bearer("other")})
        named = [image for image in classifier.images if image["name"] == b"fast"]
    assert [image["tenant"] for image in named] == [b"other"]


async def test_too_many_requests_are_told_when_to_come_back(web: aiohttp.ClientSession, keys: Keys) -> None:
    bearer = keys.bearer("few-requests")
    await call(web, "POST", "/v1/jobs", 201, headers=bearer)
    async with web.post("/v1/jobs", headers=bearer) as answer:
        assert answer.status == 429
        assert answer.headers["Retry-After"] in {"1", "2"}
        problem = await answer.json(content_type="application/problem+json")
    assert problem["type"] == "/problems/rate-limited"
    assert "0.5 requests/s" in problem["detail"]
    # Others are not held up.
    await open_job(web, keys)


async def test_a_request_that_waits_for_the_word_is_counted_once(web: aiohttp.ClientSession, keys: Keys) -> None:
    for status in (201, 201, 429):
        await call(web, "POST", "/v1/jobs", status, headers=keys.bearer("two-requests"), data=b"x", expect100=True)


async def test_images_over_the_rate_are_a_debt_told_before_the_next_body(
    web: aiohttp.ClientSession, guarded: RunningServer, keys: Keys
) -> None:
    job = await open_job(web, keys, "few-images")
    headers = {**TAR, **keys.bearer("few-images")}
    images = {f"{number}.png": png(str(number)) for number in range(100)}
    assert (await call(web, "POST", f"/v1/jobs/{job}/images", 202, data=tar(images), headers=headers))["accepted"] == 100
    text = f"POST /v1/jobs/{job}/images HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: image/png\r\nContent-Length: 9\r\n"
    early = await head(guarded.url, f"{text}Authorization: Bearer {keys.texts['few-images']}\r\n\r\n")
    assert early.startswith(b"HTTP/1.1 429")
    waits = [int(line.split(b":")[1]) for line in early.splitlines() if line.lower().startswith(b"retry-after")]
    # 100 images at 10/s, of which 10 were saved up.
    assert len(waits) == 1
    assert waits[0] <= 10
    status, problem = await ask(web, "POST", "/v1/classify", keys.bearer("few-images"), data=png("a"))
    assert (status, problem["type"]) == (429, "/problems/rate-limited")
    # What it sent can be read and closed at any time.
    await call(web, "POST", f"/v1/jobs/{job}/close", 200, json={"images": 100}, headers=keys.bearer("few-images"))
    refused = [line for line in (await (await web.get("/metrics")).text()).splitlines() if "access_refused_total{" in line]
    assert {line.split('"')[1] for line in refused} >= {"rate-limited"}


async def test_a_key_without_a_fast_lane_uses_jobs(web: aiohttp.ClientSession, keys: Keys) -> None:
    status, problem = await ask(web, "POST", "/v1/classify", keys.bearer("no-fast"), data=png("a"))
    assert (status, problem["type"]) == (403, "/problems/not-allowed")
    assert "open a job" in problem["detail"]
    await call(web, "POST", "/v1/jobs?lane=fast", 403, headers=keys.bearer("no-fast"))
    await open_job(web, keys, "no-fast")


async def test_a_job_on_the_fast_lane_obeys_the_keys_rate_there_and_others_do_not(web: aiohttp.ClientSession, keys: Keys) -> None:
    bearer = keys.bearer("few-fast")
    bulk = await open_job(web, keys, "few-fast")
    fast = (await call(web, "POST", "/v1/jobs?lane=fast", 201, headers=bearer))["job"]
    images = tar({f"{number}.png": png(str(number)) for number in range(100)})
    headers = {**TAR, **bearer}
    await call(web, "POST", f"/v1/jobs/{fast}/images", 202, data=images, headers=headers)
    for path in (f"/v1/jobs/{fast}/images", "/v1/jobs?lane=fast"):
        problem = await call(web, "POST", path, 429, data=images if "images" in path else None, headers=headers)
        assert problem["type"] == "/problems/rate-limited"
        assert "10 fast-lane images/s" in problem["detail"]
    await call(web, "POST", f"/v1/jobs/{bulk}/images", 202, data=images, headers=headers)


async def test_the_client_tells_what_is_wrong_with_its_key(guarded: RunningServer, web: aiohttp.ClientSession, keys: Keys) -> None:
    job = await open_job(web, keys)
    for key, error in ((None, NotAuthenticated), (NOBODYS, NotAuthenticated), (keys.texts["sender"], NotAllowed)):
        async with Client(guarded.url, IMPATIENT, key=key) as client:
            with pytest.raises(error) as caught:
                await client.status(job)
        assert not any(text in str(caught.value) for text in [NOBODYS, *keys.texts.values()])
    async with Client(guarded.url, IMPATIENT, key=keys.texts["acme"]) as client:
        assert (await client.status(job))["state"] == "open"
    images = tar({f"{number}.png": png(f"{number}") for number in range(100)})
    owed = await open_job(web, keys, "debtor")
    await call(web, "POST", f"/v1/jobs/{owed}/images", 202, data=images, headers={**TAR, **keys.bearer("debtor")})
    async with Client(guarded.url, IMPATIENT, key=keys.texts["debtor"]) as client:
        with pytest.raises(RateLimited) as limited:
            await client.classify_one(png("one"))
    assert limited.value.retry_after_s is not None
    assert 10 < limited.value.retry_after_s <= 100


async def test_a_client_with_a_low_rate_is_slow_and_complete(
    guarded: RunningServer, web: aiohttp.ClientSession, broker: LocalBroker, prefix: str, keys: Keys, tmp_path: Path
) -> None:
    for number in range(60):
        (tmp_path / f"{number}.png").write_bytes(png(str(number)))
    with FakeClassifier(broker.bootstrap_servers, prefix):
        async with Client(guarded.url, key=keys.texts["slow"]) as client:
            for _ in range(2):
                assert [label.label async for label in client.classify([tmp_path])] == ["seven"] * 60
    metrics = await (await web.get("/metrics")).text()
    assert 'requests_total{lane="bulk",route="/v1/jobs/{job}/images",status="429"}' in metrics


async def test_a_revoked_key_ends_and_a_new_one_begins_while_the_server_runs(broker: LocalBroker, prefix: str, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    with RunningServer(config(tmp_path, broker.bootstrap_servers, prefix, keys_file=keys.path)) as server:
        await until_async(lambda: _opens(server.url, keys.texts["acme"]) == 201, 60, "the key is good")
        text, secret = apikeys.new_secret()
        held = {name: key for name, key in keys.file.keys.items() if name != "acme"}
        apikeys.write(keys.path, KeyFile(keys={**held, "new": Key(secrets=(secret,), created=apikeys.now())}))
        await until_async(lambda: _opens(server.url, text) == 201, what="the new key is good")
        assert _opens(server.url, keys.texts["acme"]) == 401
        keys.path.write_text("{")
        assert _opens(server.url, text) == 201


def _opens(url: str, key: str) -> int:
    """The status that opening a job is answered with."""
    asked = urllib.request.Request(f"{url}/v1/jobs", method="POST", headers={"X-API-Key": key})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_server_refuses_other_machines_without_keys(tmp_path: Path, processes: str) -> None:
    (tmp_path / "key").write_bytes(b"k" * 32)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "convnet_kafka", "server", "--host", "0.0.0.0", "--port", "0"),
            *("--processes", processes, "--signing-key-file", str(tmp_path / "key")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "refusing to listen on 0.0.0.0 without keys" in done.stderr
    assert "--insecure" in done.stderr
    assert "Traceback" not in done.stderr
