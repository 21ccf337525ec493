"""What tests of the HTTP API say again and again."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from typing import Any

import aiohttp

from support.api_description import check_answer

PNG = b"\x89PNG\r\n\x1a\n"
TAR = {"Content-Type": "application/x-tar"}


def png(content: str) -> bytes:
    """Something that begins like a picture, and is told apart by its content."""
    return PNG + content.encode()


def tar(images: dict[str, bytes], *, kind: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive of files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for name, content in images.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


async def until_ready(session: aiohttp.ClientSession) -> None:
    """Return when the server is ready."""
    async with asyncio.timeout(30):
        while True:
            async with session.get("/readyz") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.02)


async def call(session: aiohttp.ClientSession, method: str, path: str, status: int, **options: Any) -> dict[str, Any]:
    """One call with the status it must have; gives the answer's JSON, held to the API's description, and for a problem checks its form."""
    async with session.request(method, path, **options) as answer:
        body = await answer.read()
        assert answer.status == status, (answer.status, body[:500])
        value: dict[str, Any] = json.loads(body)
        if status >= 400:
            assert answer.content_type == "application/problem+json"
            assert value["status"] == status
            assert value["type"].startswith("/problems/")
            assert value["title"]
            assert value["detail"]
            assert ("Retry-After" in answer.headers) == (status in {429, 503})
        check_answer(method, str(answer.url), status, value)
        return value


async def open_job(session: aiohttp.ClientSession) -> str:
    """A new job's path."""
    return f"/v1/jobs/{(await call(session, 'POST', '/v1/jobs', 201))['job']}"


async def upload(session: aiohttp.ClientSession, job: str, images: dict[str, bytes]) -> dict[str, Any]:
    """Upload images as a tar."""
    return await call(session, "POST", f"{job}/images", 202, data=tar(images), headers=TAR)


async def stream(session: aiohttp.ClientSession, job: str, **query: str) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """All lines of the NDJSON stream, and its end line."""
    lines, end = [], None
    async with session.get(f"{job}/labels", params=query, headers={"Accept": "application/x-ndjson"}) as answer:
        assert answer.status == 200
        assert answer.content_type == "application/x-ndjson"
        async for raw in answer.content:
            assert end is None, "nothing follows the end line"
            if raw.strip():
                value = json.loads(raw)
                if "end" in value:
                    end = value
                else:
                    lines.append(value)
    return lines, end
