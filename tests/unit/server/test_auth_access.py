"""Where a server may listen without keys, and what it logs of a request."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from convnet_kafka.apikeys import Key, KeyFile, new_secret, now, write
from convnet_kafka.errors import SettingsError
from convnet_kafka.logs import ACCESS_LOGGER
from convnet_kafka.server import accesslog
from convnet_kafka.server.accesslog import AccessLog, note_images
from convnet_kafka.server.auth import caller, check_access, check_routes, is_loopback
from convnet_kafka.server.jobs import JobSigner
from convnet_kafka.settings import ServerSettings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_on_its_own_machine_a_server_needs_no_keys(host: str) -> None:
    assert is_loopback(host)
    check_access(ServerSettings(host=host))


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "192.168.1.5", "example.org", "127.0.0.1.example.org"])
def test_elsewhere_it_needs_keys_or_a_word(host: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"without keys.*keys add.*--keys-file.*CONVNET_SERVER_KEYS_FILE.*--insecure"):
        check_access(ServerSettings(host=host))
    check_access(ServerSettings(host=host, insecure=True))
    write(tmp_path / "keys.json", KeyFile(keys={"a": Key(secrets=(new_secret()[1],), created=now())}))
    check_access(ServerSettings(host=host, keys_file=tmp_path / "keys.json"))


def test_a_broken_keys_file_is_no_reason_to_serve_everybody(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{}[")
    with pytest.raises(SettingsError, match="not a keys file"):
        check_access(ServerSettings(keys_file=tmp_path / "keys.json", insecure=True))


async def nothing(_request: web.Request) -> web.Response:
    return web.Response()


async def logged(log: AccessLog, method: str, path: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """What is told of one request to an application of one call and one probe."""

    async def answer(request: web.Request) -> web.Response:
        note_images(request, 3)
        await request.read()
        log.tell(request, 202, started=0.0)
        return web.Response(status=202)

    app = web.Application()
    app.router.add_route("*", "/healthz", answer)
    app.router.add_post("/v1/jobs/{job}/images", answer)
    async with TestClient(TestServer(app)) as client:
        with structlog.testing.capture_logs() as told:
            assert (await client.request(method, path, data=b"12345", headers=headers)).status == 202
    assert len(told) == 1
    return dict(told[0])


@pytest.fixture
def every_level(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    gate = logging.getLogger(ACCESS_LOGGER)
    level = gate.level
    gate.setLevel(logging.DEBUG)
    # A server that ran in this process has set up logging, and a logger that was used keeps the processors of that time.
    before = structlog.get_config()
    structlog.reset_defaults()
    monkeypatch.setattr(accesslog, "logger", structlog.get_logger(ACCESS_LOGGER))
    yield
    structlog.configure(**before)
    gate.setLevel(level)


@pytest.mark.usefixtures("every_level")
async def test_the_access_log_tells_routes_and_numbers_and_never_the_job() -> None:
    told = await logged(AccessLog(at_info=True, names=False), "POST", "/v1/jobs/secret-token/images?name=private.png")
    assert told.pop("seconds") > 0
    expected = {"event": "request", "log_level": "info", "method": "POST", "route": "/v1/jobs/{job}/images", "status": 202}
    assert told == expected | {"bytes": 5, "images": 3}


@pytest.mark.usefixtures("every_level")
async def test_asked_for_names_it_tells_the_random_part_and_the_picture() -> None:
    signer = JobSigner([b"k" * 32], lambda: b"t" * 16, 1000)
    job = signer.open("acme", 0, 0)
    path = f"/v1/jobs/{signer.token(job)}/images"
    told = await logged(AccessLog(at_info=False, names=True), "POST", f"{path}?name=a/1.png")
    assert (told["job"], told["name"], told["log_level"]) == (job.id, "a/1.png", "debug")
    told = await logged(AccessLog(at_info=False, names=True), "POST", "/v1/jobs/none/images", {"Idempotency-Key": "x" * 300})
    assert "job" not in told
    assert len(told["name"].encode()) <= 200


@pytest.mark.usefixtures("every_level")
async def test_probes_are_told_at_debug_alone() -> None:
    assert (await logged(AccessLog(at_info=True, names=False), "GET", "/healthz"))["log_level"] == "debug"


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/secrets"), ("PUT", "/v1/jobs"), ("*", "/v1/jobs")])
def test_a_route_that_nobody_gave_a_permission_does_not_start(method: str, path: str) -> None:
    app = web.Application()
    app.router.add_route(method, path, nothing)
    with pytest.raises(RuntimeError, match="is not in CALLS"):
        check_routes(app.router.routes())


def test_a_handler_that_was_reached_past_the_guard_learns_no_tenant() -> None:
    with pytest.raises(LookupError):
        caller(make_mocked_request("GET", "/v1/jobs/x"))


def test_known_calls_and_everything_outside_of_v1_may_start() -> None:
    app = web.Application()
    app.router.add_get("/healthz", nothing)
    app.router.add_get("/v1/jobs/{job}", nothing)
    check_routes(app.router.routes())
