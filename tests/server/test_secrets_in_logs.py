"""Nothing secret stands in any log: of servers, classifiers and clients, however they are misused."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp

from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.server.jobs import random_part
from support import waiting
from support.ending import end
from support.http import TAR, call
from support.keys import NOBODYS, Keys, ask, head
from support.waiting import until_async

CLIENT = """
import asyncio, os, sys
from pathlib import Path
from convnet_kafka import logs
from convnet_kafka.client import Client

async def main(url, folder):
    async with Client(url, key=os.environ["CONVNET_API_KEY"]) as client:
        classification = client.classify([folder])
        labels = [label async for label in classification]
        await client.classify_one(next(Path(folder).iterdir()).read_bytes(), "private-fast.png", timeout_s=30)
        await client.status(classification.job)
        print(classification.job)
        print(len(labels))

logs.configure("debug", json=True)
asyncio.run(main(*sys.argv[1:]), debug=True)
"""


class Program:
    """A program of a full run, whose every output goes to one file."""

    def __init__(self, log: Path, *arguments: str, **environment: str) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "convnet_kafka", *arguments, "--log-level", "debug"],
                stdout=file,
                stderr=file,
                env={**os.environ, "CONVNET_TOPICS_LABELS_PARTITIONS": "2", "CONVNET_SERVER_SHUTDOWN_DELAY_S": "0", **environment},
            )

    def text(self) -> str:
        return self._log.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [event for event in found if event.get("event") == name]

    def end(self) -> None:
        end(self.process, 60)


async def test_nothing_secret_stands_in_any_log(broker: LocalBroker, prefix: str, tmp_path: Path, digits_models: Path, digits: Any) -> None:
    keys = Keys(tmp_path / "keys.json")
    (tmp_path / "signing-key").write_bytes(b"k" * 40)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, picture in enumerate(sorted(digits.test.rglob("*.png"))[:20]):
        (pictures / f"private-{number}.png").write_bytes(picture.read_bytes())
    kafka = ["--bootstrap-servers", broker.bootstrap_servers, "--topic-prefix", f"{prefix}-logs"]
    with ExitStack() as stack:
        server = Program(
            tmp_path / "server.log",
            *("server", "--port", "0", "--processes", "2", "--create-topics", "--access-log", "--keys-file", str(keys.path)),
            *("--signing-key-file", str(tmp_path / "signing-key"), *kafka),
        )
        stack.callback(server.end)
        classifier = Program(tmp_path / "classifier.log", "classifier", "--port", "0", "--models", str(digits_models), *kafka)
        stack.callback(classifier.end)
        await until_async(lambda: server.events("listening"), 60, "the server listens")
        url = str(server.events("listening")[0]["url"])
        # Its parent says so before its children listen.
        await asyncio.to_thread(waiting.until_ready, url)
        async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(force_close=True)) as web:
            client = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", CLIENT, url, str(pictures)],
                env={**os.environ, "CONVNET_API_KEY": keys.texts["acme"]},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert client.returncode == 0, client.stderr
            job, labels = client.stdout.split()
            assert labels == "20"
            await _misbehave(web, url, job, keys)
            await call(web, "DELETE", f"/v1/jobs/{job}", 200, headers=keys.bearer("acme"))
        told = server.events("request")
    (tmp_path / "client.log").write_text(client.stderr)
    routes_told = {(event["method"], event["route"]): event for event in told if event["status"] < 300}
    upload = routes_told["POST", "/v1/jobs/{job}/images"]
    assert (upload["key"], upload["tenant"], upload["images"]) == ("acme", "acme", 20)
    assert upload["bytes"] > 20 * 512
    assert upload["level"] == "info"
    assert "a request was not HTTP and was refused" in server.text()
    assert {401, 404, 403} <= {event["status"] for event in told}
    secrets = {NOBODYS, job, job[-22:], "private-", *keys.texts.values()}
    # What pictures begin with, as bytes are shown, and as base64; and the key that signs.
    secrets |= {"\\x89PNG", "IHDR", "iVBORw0KGgo", "k" * 40}
    secrets |= {secret.sha256 for key in keys.file.keys.values() for secret in key.secrets}
    for log in ("server.log", "classifier.log", "client.log"):
        text = (tmp_path / log).read_text(errors="replace")
        assert text or log == "client.log", log
        assert [secret for secret in secrets if secret in text] == [], log
    # Its random part gives no access; it tells which job a batch was of, and servers keep even that to themselves unless asked.
    random = random_part(job)
    assert random in (tmp_path / "classifier.log").read_text()
    assert random not in (tmp_path / "server.log").read_text()


async def _misbehave(web: aiohttp.ClientSession, url: str, job: str, keys: Keys) -> None:
    """Requests that go wrong in every way that might be logged."""
    bearer = keys.bearer("acme")
    await ask(web, "GET", f"/v1/jobs/{job}", {"Authorization": f"Bearer {NOBODYS}"})
    await ask(web, "GET", f"/v1/jobs/{job}", keys.bearer("other"))
    await ask(web, "GET", f"/v1/jobs/{job}", keys.bearer("sender"))
    await ask(web, "GET", f"/v1/jobs/{job}/nothing", bearer)
    await ask(web, "PUT", f"/v1/jobs/{job}", bearer)
    await ask(web, "GET", f"/v1/jobs/{job}/labels?cursor={keys.texts['acme']}", bearer)
    await ask(web, "POST", f"/v1/jobs/{job}/close", bearer, data=job)
    await ask(web, "POST", f"/v1/jobs/{job}/images?name=private-late.png", {**bearer, **TAR}, data=b"no tar, but private-bytes" * 100)
    text = f"Host: x\r\nAuthorization: Bearer {keys.texts['acme']}"
    for broken in (
        f"GET /v1/jobs/{job} HTTP/1.1\r\n{text}\x00\r\n\r\n",
        f"GET /v1/jobs/{job} HTTP/1.1\r\nAuthorization {keys.texts['acme']}\r\n\r\n",
        f"GET /v1/jobs/{job} with spaces {keys.texts['acme']} HTTP/1.1\r\n\r\n",
        f"{keys.texts['acme']} /v1/jobs/{job} HTTP/1.1\r\n\r\n",
        f"GET /v1/jobs/{job} HTTP/9.9x\r\n\r\n",
        f"GET /v1/jobs/{job} HTTP/1.1\r\nX-API-Key: {keys.texts['acme'] * 1000}\r\n\r\n",
        f"POST /v1/jobs/{job}/images HTTP/1.1\r\n{text}\r\nContent-Length: -5\r\n\r\n",
    ):
        assert (await head(url, broken)).startswith(b"HTTP/1.")
    cut = f"POST /v1/jobs/{job}/images HTTP/1.1\r\n{text}\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n{job}\r\n"
    await head(url, cut)
